// A small program that the test of the image bundles: one dynamic import of each kind that the real one has (an ES
// module, a CommonJS package by name, a package with native code), so that a wrong bundle fails here and not in a pod.
const wanted = process.argv[2];

if (wanted === "native") {
  const { open } = await import("lmdb");
  const store = open({ path: process.argv[3] ?? "", encoding: "binary" });
  await store.put("key", Buffer.from("kept"));
  console.log(String(store.get("key")));
  await store.close();
} else if (wanted === "commonjs") {
  const { CloudHSMV2Client } = await import("@aws-sdk/client-cloudhsm-v2");
  const { Router } = await import("express");
  console.log(CloudHSMV2Client.name, typeof Router);
} else {
  const { SignJWT } = await import("jose");
  console.log(SignJWT.name);
}
