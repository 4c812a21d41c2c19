// The auto-auth methods there are. A new one is a folder and a line here.
import { approle } from "./approle/approle.ts";
import type { AuthMethod } from "./auth-method.ts";
import { aws } from "./aws/aws.ts";
import { cert } from "./cert/cert.ts";
import { jwt } from "./jwt/jwt.ts";
import { kubernetes } from "./kubernetes/kubernetes.ts";
import { tokenFile } from "./token-file/token-file.ts";

export const authMethods: readonly AuthMethod[] = [kubernetes, jwt, approle, cert, aws, tokenFile];
