package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openbao/openbao/api/v2"
)

func sysChecks() {
	sys := root.Sys()

	check("sys: ListMounts, TuneMount, MountConfig, MountInfo, Unmount", func() {
		description := "tuned"
		done(sys.Mount("tuned", &api.MountInput{Type: "kv", SealWrap: true, Config: api.MountConfigInput{DefaultLeaseTTL: "1h"}}))
		done(sys.TuneMount("tuned", api.MountConfigInput{MaxLeaseTTL: "24h", Description: &description, ListingVisibility: "unauth"}))
		config := must(sys.MountConfig("tuned"))
		equal([]any{config.DefaultLeaseTTL, config.MaxLeaseTTL, config.ListingVisibility}, []any{3600, 86400, "unauth"})
		listed := must(sys.ListMounts())["tuned/"]
		equal([]any{listed.Type, listed.Description, listed.SealWrap}, []any{"kv", "tuned", true})
		equal(must(sys.MountInfo("tuned")).Accessor, listed.Accessor)
		refused(sys.Mount("tuned", &api.MountInput{Type: "kv"}), 400, "path is already in use at tuned/")
		done(sys.Unmount("tuned"))
	})
	check("sys: Remount waits until a mount has moved", func() {
		done(sys.Remount("one", "moved"))
		_ = must(root.Logical().Read("moved/numbers"))
		done(sys.Remount("moved", "one"))
	})
	check("sys: ListAuth, EnableAuth, tune, DisableAuth", func() {
		done(sys.EnableAuthWithOptions("passing", &api.EnableAuthOptions{Type: "userpass", Description: "of passing"}))
		done(sys.TuneMount("auth/passing", api.MountConfigInput{TokenType: "batch", DefaultLeaseTTL: "5m"}))
		listed := must(sys.ListAuth())["passing/"]
		equal([]any{listed.Type, listed.Description, listed.Config.TokenType}, []any{"userpass", "of passing", "batch"})
		equal(must(sys.MountConfig("auth/passing")).DefaultLeaseTTL, 300)
		done(sys.DisableAuth("passing"))
	})
	check("sys: PutPolicy, GetPolicy, ListPolicies, DeletePolicy", func() {
		rules := "path \"a/*\" {\n  capabilities = [\"read\"]\n}\n"
		done(sys.PutPolicy("passing", rules))
		equal(must(sys.GetPolicy("passing")), rules)
		holds(slices.Contains(must(sys.ListPolicies()), "passing"), "the policy is not listed")
		done(sys.DeletePolicy("passing"))
		equal(must(sys.GetPolicy("passing")), "")
	})
	check("sys: CapabilitiesSelf, Capabilities", func() {
		equal(must(sys.CapabilitiesSelf("one/x")), []string{"root"})
		token := must(root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"reader"}})).Auth.ClientToken
		equal(must(sys.Capabilities(token, "one/x")), []string{"list", "read"})
	})
	check("sys: EnableAudit, ListAudit, AuditHash, DisableAudit", func() {
		file := filepath.Join(os.Getenv("COFFER_TEST_FOLDER"), "audit.log")
		done(sys.EnableAuditWithOptions("of-go", &api.EnableAuditOptions{Type: "file", Options: map[string]string{"file_path": file}}))
		equal(must(sys.ListAudit())["of-go/"].Options["file_path"], file)
		hash := must(sys.AuditHash("of-go", root.Token()))
		done(sys.DisableAudit("of-go"))
		holds(strings.Contains(string(must(os.ReadFile(file))), hash), "the token's hash is not in the file")
	})
	check("sys: Health, Leader, SealStatus, InitStatus, KeyStatus, Rotate", func() {
		health := must(sys.Health())
		equal([]bool{health.Initialized, health.Sealed, health.Standby}, []bool{true, false, false})
		_ = must(sys.Leader())
		equal(must(sys.SealStatus()).Type, "shamir")
		equal(must(sys.InitStatus()), true)
		before := must(sys.KeyStatus())
		done(sys.Rotate())
		equal(must(sys.KeyStatus()).Term, before.Term+1)
	})
	check("sys: RaftSnapshot, RaftSnapshotRestore", func() {
		done(sys.PutPolicy("kept", `path "kept" { capabilities = ["read"] }`))
		var snapshot bytes.Buffer
		done(sys.RaftSnapshot(&snapshot))
		done(sys.DeletePolicy("kept"))
		done(sys.RaftSnapshotRestore(bytes.NewReader(snapshot.Bytes()), false))
		holds(strings.Contains(must(sys.GetPolicy("kept")), "kept"), "the policy is not back")
		cut := snapshot.Bytes()[:snapshot.Len()-20]
		refused(sys.RaftSnapshotRestore(bytes.NewReader(cut), false), 400, "no whole snapshot")
	})
	check("sys: ListPlugins", func() {
		holds(slices.Contains(must(sys.ListPlugins(&api.ListPluginsInput{})).PluginsByType[api.PluginTypeSecrets], "kv"), "kv is not listed")
	})
	check("help: of a path", func() {
		help := must(root.Help("auth/token/create"))
		holds(strings.Contains(help.Help, "num_uses"), help.Help)
	})
}

func sealChecks() {
	sys := root.Sys()

	check("root token: GenerateRootInit, GenerateRootUpdate, GenerateRootCancel", func() {
		otp := strings.Repeat("x", must(sys.GenerateRootStatus()).OTPLength)
		_ = must(sys.GenerateRootInit(otp, ""))
		done(sys.GenerateRootCancel())
		started := must(sys.GenerateRootInit(otp, ""))
		finished := must(sys.GenerateRootUpdate(os.Getenv("COFFER_TEST_UNSEAL_KEY"), started.Nonce))
		token := must(base64.RawStdEncoding.DecodeString(finished.EncodedRootToken))
		for index := range token {
			token[index] ^= 'x'
		}
		equal(must(client(string(token)).Auth().Token().LookupSelf()).Data["policies"], []any{"root"})
	})
	check("root key: RotateRootInit, RotateRootUpdate, RotateRootStatus", func() {
		started := must(sys.RotateRootInit(&api.RotateInitRequest{SecretShares: 1, SecretThreshold: 1}))
		equal(must(sys.RotateRootStatus()).Nonce, started.Nonce)
		finished := must(sys.RotateRootUpdate(os.Getenv("COFFER_TEST_UNSEAL_KEY"), started.Nonce))
		equal([]any{finished.Complete, len(finished.KeysB64)}, []any{true, 1})
		done(os.Setenv("COFFER_TEST_UNSEAL_KEY", finished.KeysB64[0]))
	})
	check("seal: Seal, Unseal, ResetUnsealProcess", func() {
		done(sys.Seal())
		equal(must(sys.Health()).Sealed, true)
		equal(must(sys.ResetUnsealProcess()).Progress, 0)
		equal(must(sys.Unseal(os.Getenv("COFFER_TEST_UNSEAL_KEY"))).Sealed, false)
		eventually("it serves again", func() bool { return !must(sys.Health()).Standby })
		_ = must(root.Auth().Token().LookupSelf())
	})
}
