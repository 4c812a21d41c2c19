// Paths with "//", "." or ".." are not answered but sent where they should have gone, as Go's servers do: a policy must
// never see another spelling of a path than the storage does. Percent signs are looked through.

/** The clean form of a URL's path (query kept), or undefined when it is clean. */
export function cleanPath(url: string): string | undefined {
  const at = url.indexOf("?");
  const path = at < 0 ? url : url.slice(0, at);
  const decoded = path.includes("%") ? decode(path) : path;
  if (!/\/\/|\/\.{1,2}(\/|$)/.test(decoded)) return undefined;
  const parts: string[] = [];
  for (const segment of decoded.split("/")) {
    if (segment === "" || segment === ".") continue;
    if (segment === "..") parts.pop();
    else parts.push(path === decoded ? segment : encodeURIComponent(segment));
  }
  const slash = decoded.endsWith("/") && parts.length > 0 ? "/" : "";
  return `/${parts.join("/")}${slash}${at < 0 ? "" : url.slice(at)}`;
}

/** What cannot be decoded is refused later, with its own message. */
function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
