// The kinds of resources that Coffer itself reads or writes. Custom resources are described by the operator.
import type { ResourceKind } from "./kube-object.ts";

const core = (plural: string, kind: string, namespaced = true): ResourceKind => ({
  group: "",
  version: "v1",
  plural,
  kind,
  namespaced,
});
const grouped = (group: string, plural: string, kind: string, namespaced = true): ResourceKind => ({
  group,
  version: "v1",
  plural,
  kind,
  namespaced,
});

export const CONFIG_MAP = core("configmaps", "ConfigMap");
export const NAMESPACE = core("namespaces", "Namespace", false);
export const NODE = core("nodes", "Node", false);
export const PERSISTENT_VOLUME_CLAIM = core("persistentvolumeclaims", "PersistentVolumeClaim");
export const POD = core("pods", "Pod");
export const SECRET = core("secrets", "Secret");
export const SERVICE = core("services", "Service");
export const SERVICE_ACCOUNT = core("serviceaccounts", "ServiceAccount");

export const DAEMON_SET = grouped("apps", "daemonsets", "DaemonSet");
export const DEPLOYMENT = grouped("apps", "deployments", "Deployment");
export const STATEFUL_SET = grouped("apps", "statefulsets", "StatefulSet");
export const JOB = grouped("batch", "jobs", "Job");
export const CRON_JOB = grouped("batch", "cronjobs", "CronJob");
export const LEASE = grouped("coordination.k8s.io", "leases", "Lease");
export const EVENT = grouped("events.k8s.io", "events", "Event");
export const NETWORK_POLICY = grouped("networking.k8s.io", "networkpolicies", "NetworkPolicy");
export const POD_DISRUPTION_BUDGET = grouped("policy", "poddisruptionbudgets", "PodDisruptionBudget");
export const CLUSTER_ROLE = grouped("rbac.authorization.k8s.io", "clusterroles", "ClusterRole", false);
export const CLUSTER_ROLE_BINDING = grouped(
  "rbac.authorization.k8s.io",
  "clusterrolebindings",
  "ClusterRoleBinding",
  false,
);
export const ROLE = grouped("rbac.authorization.k8s.io", "roles", "Role");
export const ROLE_BINDING = grouped("rbac.authorization.k8s.io", "rolebindings", "RoleBinding");
export const CUSTOM_RESOURCE_DEFINITION = grouped(
  "apiextensions.k8s.io",
  "customresourcedefinitions",
  "CustomResourceDefinition",
  false,
);
export const MUTATING_WEBHOOK_CONFIGURATION = grouped(
  "admissionregistration.k8s.io",
  "mutatingwebhookconfigurations",
  "MutatingWebhookConfiguration",
  false,
);
export const VALIDATING_WEBHOOK_CONFIGURATION = grouped(
  "admissionregistration.k8s.io",
  "validatingwebhookconfigurations",
  "ValidatingWebhookConfiguration",
  false,
);
export const TOKEN_REVIEW = grouped("authentication.k8s.io", "tokenreviews", "TokenReview", false);
export const SUBJECT_ACCESS_REVIEW = grouped(
  "authorization.k8s.io",
  "subjectaccessreviews",
  "SubjectAccessReview",
  false,
);
