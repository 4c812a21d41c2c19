import { describe, expect, it } from "vitest";
import type { JsonObject } from "#common/json.ts";
import { validateOpenApi } from "#test/kit/openapi-validator.ts";
import { field, withDefault } from "../framework/fields.ts";
import { definePath } from "../framework/path.ts";
import { dataReply } from "../framework/reply.ts";
import { OpenApiDocument } from "./openapi.ts";

const handler = () => dataReply({});
const operation = { summary: "Do it.", handler };
const ROLE = definePath("roles/:name", {
  summary: "A role.",
  fields: {
    name: field.text("Its name."),
    ttl: withDefault(field.seconds("Life."), 60),
    policies: withDefault(field.list("Policies."), []),
  },
  exists: async () => true,
  operations: { read: operation, update: operation, delete: operation },
});
const MOUNT = { prefix: "e/", tag: "secrets" };

function documentOf(...paths: readonly (typeof ROLE)[]): JsonObject {
  const document = new OpenApiDocument();
  for (const path of paths) document.add(MOUNT, path);
  return document.toJson({ version: "1.0.0" });
}

describe("OpenAPI documents", () => {
  it("describe parameters, bodies and methods", () => {
    const document = documentOf(ROLE);
    expect(validateOpenApi(document)).toEqual([]);
    expect(document["paths"]).toMatchObject({
      "/e/roles/{name}": {
        parameters: [{ name: "name", in: "path", required: true, description: "Its name." }],
        "x-vault-createSupported": true,
        post: {
          requestBody: {
            content: {
              "application/json": {
                schema: {
                  properties: {
                    ttl: { type: "integer", format: "seconds", default: 60 },
                    policies: { type: "array", items: { type: "string" } },
                  },
                },
              },
            },
          },
        },
        get: { operationId: "read-e-roles-name" },
        delete: {},
      },
    });
  });

  it("tell how to list", () => {
    const list = definePath("roles", { summary: "Roles.", operations: { list: operation } });
    const both = definePath("keys", { summary: "Keys.", operations: { list: operation, read: operation } });
    const document = documentOf(list, both);
    expect(validateOpenApi(document)).toEqual([]);
    expect(document["paths"]).toMatchObject({
      "/e/roles": { get: { parameters: [{ name: "list", required: true }, { name: "after" }, { name: "limit" }] } },
      "/e/keys": { get: { operationId: "read-e-keys", parameters: [{ name: "list" }, {}, {}] } },
    });
  });

  it("tell that a path can be scanned besides", () => {
    const deep = definePath("deep", { summary: "Keys.", operations: { list: operation, scan: operation } });
    const all = definePath("all/:path*", {
      summary: "Keys.",
      operations: { read: operation, list: operation, scan: operation, delete: operation },
    });
    const document = documentOf(deep, all);
    expect(validateOpenApi(document)).toEqual([]);
    const kinds = [{ name: "list" }, { name: "scan" }];
    expect(document["paths"]).toMatchObject({
      "/e/deep": { get: { parameters: [...kinds, { name: "after" }, { name: "limit" }] } },
      "/e/all/{path}": { get: { parameters: [...kinds, {}, {}] }, delete: { operationId: "delete-e-all-path" } },
    });
    expect(JSON.stringify(document["paths"])).not.toContain('required":true,"schema":{"type":"string","enum');
  });

  it("hold of paths that differ in names alone the first", () => {
    const other = definePath("roles/:role", { summary: "A role.", operations: { read: operation } });
    const document = documentOf(ROLE, other);
    expect(validateOpenApi(document)).toEqual([]);
    expect(Object.keys(document["paths"] ?? {})).toEqual(["/e/roles/{name}"]);
  });
});

describe("the validator", () => {
  it.each([
    [{ paths: {} }, "openapi: not 3.0.x"],
    [{ openapi: "3.0.2", info: { title: "a", version: "1" }, paths: { a: {} } }, "a: does not begin with a slash"],
    [
      { openapi: "3.0.2", info: { title: "a", version: "1" }, paths: { "/{a}": { get: { operationId: "a" } } } },
      "get /{a}: path a is not declared",
    ],
  ])("finds what is wrong in %j", (document, fault) => {
    expect(validateOpenApi(document)).toContain(fault);
  });
});
