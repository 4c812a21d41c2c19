package main

import (
	"errors"
	"time"

	"github.com/openbao/openbao/api/v2"
)

// A watcher that has done nothing after this time never will.
const watcherLimit = 20 * time.Second

func watch(with *api.Client, secret *api.Secret, behavior api.RenewBehavior) *api.LifetimeWatcher {
	watcher := must(with.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: secret, RenewBehavior: behavior}))
	go watcher.Start()
	return watcher
}

func nextRenewal(watcher *api.LifetimeWatcher) *api.RenewOutput {
	select {
	case renewal := <-watcher.RenewCh():
		return renewal
	case err := <-watcher.DoneCh():
		panic(errors.Join(errors.New("the watcher ended"), err))
	case <-time.After(watcherLimit):
		panic("the watcher has renewed nothing")
	}
}

func ended(watcher *api.LifetimeWatcher) error {
	for limit := time.After(watcherLimit); ; {
		select {
		case err := <-watcher.DoneCh():
			return err
		case <-watcher.RenewCh():
		case <-limit:
			panic("the watcher has not ended")
		}
	}
}

func watcherChecks() {
	tokens := root.Auth().Token()

	check("LifetimeWatcher: renews a token again and again, and it lives longer than its first time", func() {
		// The watcher renews after two thirds of the time; the rest is for a busy machine.
		secret := must(tokens.Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "6s"}))
		own := client(secret.Auth.ClientToken)
		watcher := watch(own, secret, api.RenewBehaviorErrorOnErrors)
		for started := time.Now(); time.Since(started) < 7*time.Second; {
			equal(nextRenewal(watcher).Secret.Auth.ClientToken, secret.Auth.ClientToken)
		}
		_ = must(own.Auth().Token().LookupSelf())
		watcher.Stop()
		done(ended(watcher))
	})
	check("LifetimeWatcher: ends when the maximum time is reached", func() {
		secret := must(tokens.Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "2s", ExplicitMaxTTL: "4s"}))
		done(ended(watch(client(secret.Auth.ClientToken), secret, api.RenewBehaviorIgnoreErrors)))
	})
	check("LifetimeWatcher: a revoked token ends it with an error", func() {
		secret := must(tokens.Create(&api.TokenCreateRequest{Policies: []string{"default"}, TTL: "3s"}))
		watcher := watch(client(secret.Auth.ClientToken), secret, api.RenewBehaviorErrorOnErrors)
		_ = nextRenewal(watcher)
		done(tokens.RevokeAccessor(secret.Auth.Accessor))
		refused(ended(watcher), 403, "permission denied")
	})
	check("LifetimeWatcher: a secret that cannot be renewed", func() {
		done(root.Sys().Mount("ssh", &api.MountInput{Type: "ssh"}))
		_ = must(root.Logical().Write("ssh/roles/ops", map[string]any{"key_type": "otp", "default_user": "ann", "cidr_list": "10.0.0.0/8"}))
		secret := must(root.Logical().Write("ssh/creds/ops", map[string]any{"ip": "10.1.2.3"}))
		equal(ended(watch(root, secret, api.RenewBehaviorErrorOnErrors)), api.ErrLifetimeWatcherNotRenewable)
		equal(must(root.Sys().Lookup(secret.LeaseID)).Data["renewable"], false)
		done(root.Sys().Revoke(secret.LeaseID))
		done(root.Sys().RevokeWithOptions(&api.RevokeOptions{LeaseID: "ssh/creds", Prefix: true, Sync: true}))
		done(root.Sys().RevokeForce("ssh/creds"))
		_, err := root.Sys().Lookup(secret.LeaseID)
		refused(err, 400, "invalid lease")
	})
}
