// Auto-auth by an AWS identity: a signed request for STS GetCallerIdentity, which is not sent to STS but to the server,
// which sends it on and so learns who signed it (https://developer.hashicorp.com/vault/docs/auth/aws#iam-auth-method).
// Credentials: those of the configuration, else where AWS's own clients look (environment, files, IRSA, EKS Pod
// Identity, ECS, EC2).
import { flag, ignored, text, word } from "#common/hcl/config-fields.ts";
import { defineAuthMethod, sendLogin } from "../auth-method.ts";
import { type AwsKeys, signedCallerIdentity } from "./caller-identity.ts";

/** Of the global endpoint, which servers use unless their sts_endpoint says otherwise. */
const REGION_DEFAULT = "us-east-1";

export const aws = defineAuthMethod({
  type: "aws",
  doc: "The identity of an AWS role or user, by a signed request (type iam).",
  fields: {
    type: word("Only iam: ec2 trusts the first who comes.", "iam", ["iam"]),
    role: text("The role on the server."),
    region: text(
      "Region to sign for. It must be that of the server's sts_endpoint, if it has one; the global endpoint without.",
    ),
    sts_endpoint: text("The server's sts_endpoint, where it is none of AWS's own: https://…"),
    header_value: text("Of the header X-Vault-AWS-IAM-Server-ID, as the server's iam_server_id_header_value."),
    access_key: text("Fixed credentials, instead of those that AWS's clients find."),
    secret_key: text("Fixed credentials."),
    session_token: text("Fixed credentials, if they are temporary."),
    credential_poll_interval: ignored("credentials are asked for at each login"),
    nonce: ignored("it belongs to the type ec2"),
    log_level: ignored("the agent's own log_level counts"),
    use_dual_stack: flag("Sign for the endpoint that is reached by IPv6 too.", false),
  },
  check: ({ role, access_key, secret_key, session_token, sts_endpoint }) => {
    if (role === undefined) return "role is missing";
    if ((access_key === undefined) !== (secret_key === undefined)) return "access_key and secret_key go together";
    if (session_token !== undefined && access_key === undefined) return "session_token wants an access_key";
    if (sts_endpoint !== undefined && !URL.canParse(sts_endpoint)) return "sts_endpoint must be a URL";
    return undefined;
  },
  create: (values, place) => {
    const { role = "", region, access_key, secret_key, session_token } = values;
    let provider: (() => Promise<AwsKeys>) | undefined;
    const fixed =
      access_key === undefined || secret_key === undefined
        ? undefined
        : { accessKeyId: access_key, secretAccessKey: secret_key, sessionToken: session_token };
    return async (signal) => {
      if (fixed === undefined) provider ??= await ambientCredentials(region ?? REGION_DEFAULT);
      const credentials = fixed ?? (await provider?.());
      if (credentials === undefined) throw new Error("either fixed or ambient credentials are there");
      const proof = signedCallerIdentity({
        credentials,
        endpoint: new URL(values.sts_endpoint ?? endpointOf(region, values.use_dual_stack)),
        region: region ?? REGION_DEFAULT,
        serverId: values.header_value,
        now: place.clock.now(),
      });
      return sendLogin(place, { role, ...proof }, signal);
    };
  },
});

function endpointOf(region: string | undefined, isDualStack: boolean): string {
  if (region === undefined) return "https://sts.amazonaws.com/";
  const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  return isDualStack ? `https://sts.${region}.api.aws/` : `https://sts.${region}.${domain}/`;
}

/** The SDK's part for that is loaded here, by those alone who need it. */
async function ambientCredentials(region: string): Promise<() => Promise<AwsKeys>> {
  const { fromNodeProviderChain } = await import("@aws-sdk/credential-providers");
  return fromNodeProviderChain({ clientConfig: { region } });
}
