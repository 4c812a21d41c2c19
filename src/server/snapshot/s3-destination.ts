// Snapshots in a bucket of S3, or of a store that speaks as S3 does. Sent in parts as they are made, so memory stays at
// a few parts; a snapshot that fails on the way leaves no object. Credentials come from where the AWS SDK looks for them
// (environment, web identity, instance); none stand in the configuration.
import { Readable } from "node:stream";
import { DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, NoSuchKey, S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { CofferError } from "#common/errors.ts";
import type { SnapshotsStanza } from "../config/server-config.ts";
import { assertSnapshotName, type Destination, isSnapshotName } from "./destination.ts";

/** S3 takes 10,000 parts: 160 GiB at this size, and a few of them are in memory. */
const PART_BYTES = 16 * 1024 * 1024;
const PARTS_AT_ONCE = 2;

export function s3Destination(stanza: SnapshotsStanza & { readonly bucket: string }): Destination {
  const { bucket, endpoint } = stanza;
  const client = new S3Client({
    ...(stanza.region !== undefined && { region: stanza.region }),
    ...(endpoint !== undefined && { endpoint }),
    // Stores of others have no name of their own for each bucket.
    forcePathStyle: endpoint !== undefined,
  });
  const keyOf = (name: string) => {
    assertSnapshotName(name);
    return stanza.prefix + name;
  };
  return {
    place: `s3://${bucket}/${stanza.prefix}`,
    async put(name, bytes) {
      const params = { Bucket: bucket, Key: keyOf(name), Body: bytes, ContentType: "application/gzip" };
      await new Upload({ client, params, partSize: PART_BYTES, queueSize: PARTS_AT_ONCE }).done();
    },
    list: () => listNames(client, bucket, stanza.prefix),
    async get(name) {
      const found = await client.send(new GetObjectCommand({ Bucket: bucket, Key: keyOf(name) })).catch((cause) => {
        if (!(cause instanceof NoSuchKey)) throw cause;
        throw new CofferError("not_found", `there is no snapshot ${name}`, { cause });
      });
      if (found.Body instanceof Readable) return found.Body;
      throw new CofferError("unavailable", `the store gave no content for ${name}`);
    },
    async remove(name) {
      await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: keyOf(name) }));
    },
  };
}

async function listNames(client: S3Client, bucket: string, prefix: string): Promise<readonly string[]> {
  const names: string[] = [];
  let token: string | undefined;
  do {
    const page = await client.send(
      new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ContinuationToken: token }),
    );
    for (const { Key = "" } of page.Contents ?? []) names.push(Key.slice(prefix.length));
    token = page.NextContinuationToken;
  } while (token !== undefined);
  return names.filter(isSnapshotName).sort();
}
