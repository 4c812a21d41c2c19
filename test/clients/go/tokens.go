package main

import (
	"context"
	"time"

	"github.com/openbao/openbao/api/v2"
)

// fields logs in at a path with a body; the client's own AuthMethod for methods that need no more.
type fields struct {
	path string
	body map[string]any
}

func (login fields) Login(ctx context.Context, with *api.Client) (*api.Secret, error) {
	return with.Logical().WriteWithContext(ctx, login.path, login.body)
}

func loginChecks() {
	ctx := context.Background()
	logical := root.Logical()

	check("login: userpass sets the client's token", func() {
		done(root.Sys().PutPolicy("reader", `path "one/*" { capabilities = ["read", "list"] }`))
		done(root.Sys().EnableAuthWithOptions("people", &api.EnableAuthOptions{Type: "userpass"}))
		_ = must(logical.Write("auth/people/users/ann", map[string]any{"password": "a-password", "token_policies": "reader"}))
		ann := client("")
		secret := must(ann.Auth().Login(ctx, fields{"auth/people/login/ann", map[string]any{"password": "a-password"}}))
		equal(ann.Token(), secret.Auth.ClientToken)
		equal(secret.Auth.Policies, []string{"default", "reader"})
		equal(must(secret.TokenMetadata()), map[string]string{"username": "ann"})
		_ = must(ann.Logical().Read("one/numbers"))
		_, err := client("").Auth().Login(ctx, fields{"auth/people/login/ann", map[string]any{"password": "x"}})
		refused(err, 400, "invalid username or password")
	})
	check("login: approle with a wrapped secret id", func() {
		done(root.Sys().EnableAuthWithOptions("approle", &api.EnableAuthOptions{Type: "approle"}))
		_ = must(logical.Write("auth/approle/role/web", map[string]any{"token_policies": "reader", "token_ttl": "20m"}))
		roleID := must(logical.Read("auth/approle/role/web/role-id")).Data["role_id"]
		wrapping := client(root.Token())
		wrapping.SetWrappingLookupFunc(func(string, string) string { return "60s" })
		wrapped := must(wrapping.Logical().Write("auth/approle/role/web/secret-id", nil))
		secretID := must(client("").Logical().Unwrap(wrapped.WrapInfo.Token)).Data["secret_id"]
		program := client("")
		secret := must(program.Auth().Login(ctx, fields{"auth/approle/login", map[string]any{"role_id": roleID, "secret_id": secretID}}))
		equal(secret.Auth.LeaseDuration, 1200)
		equal(must(program.Auth().Token().LookupSelf()).Data["display_name"], "approle")
	})
}

func tokenChecks() {
	tokens := root.Auth().Token()

	check("token: Create, Lookup, LookupAccessor, and what Secret tells of them", func() {
		made := must(tokens.Create(&api.TokenCreateRequest{Policies: []string{"reader"}, TTL: "1h", Metadata: map[string]string{"a": "b"}}))
		secret := must(tokens.Lookup(must(made.TokenID())))
		equal(must(secret.TokenTTL()).Round(time.Minute), time.Hour)
		equal(must(secret.TokenPolicies()), []string{"default", "reader"})
		equal(must(secret.TokenIsRenewable()), true)
		equal(must(secret.TokenRemainingUses()), 0)
		equal(must(tokens.LookupAccessor(must(made.TokenAccessor()))).Data["id"], "")
		_, err := tokens.Lookup("unknown")
		refused(err, 403, "bad token")
	})
	check("token: CreateOrphan, CreateWithRole, batch", func() {
		orphan := must(tokens.CreateOrphan(&api.TokenCreateRequest{Policies: []string{"default"}}))
		equal(must(tokens.Lookup(orphan.Auth.ClientToken)).Data["orphan"], true)
		_ = must(root.Logical().Write("auth/token/roles/ci", map[string]any{"allowed_policies": "reader", "token_period": "15m"}))
		equal(must(tokens.CreateWithRole(&api.TokenCreateRequest{}, "ci")).Auth.LeaseDuration, 900)
		batch := must(tokens.Create(&api.TokenCreateRequest{Policies: []string{"reader"}, Type: "batch", TTL: "5m"}))
		holds(!batch.Auth.Renewable, "a batch token is renewable")
	})
	check("token: RenewSelf, RenewTokenAsSelf, RenewAccessor, Renew", func() {
		made := must(tokens.Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "10m"})).Auth
		own := client(made.ClientToken).Auth().Token()
		equal(must(own.RenewSelf(1200)).Auth.LeaseDuration, 1200)
		equal(must(tokens.RenewTokenAsSelf(made.ClientToken, 1300)).Auth.LeaseDuration, 1300)
		equal(must(tokens.RenewAccessor(made.Accessor, 1400)).Auth.ClientToken, "")
		equal(must(tokens.Renew(made.ClientToken, 1500)).Auth.LeaseDuration, 1500)
	})
	check("token: RevokeSelf, RevokeAccessor, RevokeTree, RevokeOrphan", func() {
		create := func() *api.SecretAuth {
			return must(tokens.Create(&api.TokenCreateRequest{Policies: []string{"default"}})).Auth
		}
		first, second, third, fourth := create(), create(), create(), create()
		done(client(first.ClientToken).Auth().Token().RevokeSelf(""))
		done(tokens.RevokeAccessor(second.Accessor))
		done(tokens.RevokeTree(third.ClientToken))
		done(tokens.RevokeOrphan(fourth.ClientToken))
		for _, revoked := range []*api.SecretAuth{first, second, third, fourth} {
			_, err := tokens.Lookup(revoked.ClientToken)
			refused(err, 403, "bad token")
		}
	})
}

func wrappingChecks() {
	check("wrapping: wrap, lookup, Unwrap with either token, once", func() {
		wrapping := client(root.Token())
		wrapping.SetWrappingLookupFunc(api.DefaultWrappingLookupFunc)
		for _, unwrapping := range []*api.Client{client(""), client(root.Token())} {
			info := must(wrapping.Logical().Write("sys/wrapping/wrap", map[string]any{"hello": "world"})).WrapInfo
			equal([]any{info.TTL, info.CreationPath}, []any{300, "sys/wrapping/wrap"})
			holds(time.Since(info.CreationTime) < time.Hour, "the creation time is wrong")
			looked := must(root.Logical().Write("sys/wrapping/lookup", map[string]any{"token": info.Token}))
			equal(looked.Data["creation_ttl"], number("300"))
			equal(must(unwrapping.Logical().Unwrap(info.Token)).Data, map[string]any{"hello": "world"})
			_, err := unwrapping.Logical().Unwrap(info.Token)
			holds(err != nil, "a wrapping token was good twice")
		}
	})
	check("wrapping: the client's own token is the wrapping token", func() {
		wrapping := client(root.Token())
		wrapping.SetWrappingLookupFunc(func(string, string) string { return "1m" })
		secret := must(wrapping.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"reader"}}))
		holds(secret.WrapInfo.WrappedAccessor != "", "no accessor of the wrapped token")
		inside := must(client(secret.WrapInfo.Token).Logical().Unwrap(""))
		equal(inside.Auth.Accessor, secret.WrapInfo.WrappedAccessor)
	})
}
