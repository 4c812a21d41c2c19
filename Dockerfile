# Coffer's image for those who have a registry at hand: docker build -t coffer/coffer:dev .
# The root file system comes from the same script as the archive that the tests load (tools/image/build-image).
FROM node:24-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates musl-tools
WORKDIR /src
COPY package.json package-lock.json ./
# The headers of Node are at /usr/local here: pkcs11js is compiled against them.
RUN npm_config_nodedir=/usr/local npm ci
COPY . .
RUN tools/image/build-image --root /image -o /tmp/coffer.tar

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NODE_ENV=production
ENTRYPOINT ["/coffer/helper", "nodump", "/usr/local/bin/node", "--disable-warning=ExperimentalWarning", "/app/coffer.js"]
