package main

import (
	"context"
	"errors"
	"time"

	"github.com/openbao/openbao/api/v2"
)

func kvChecks() {
	ctx := context.Background()
	logical := root.Logical()
	one, two := root.KVv1("one"), root.KVv2("two")

	check("kv: mount both versions", func() {
		done(root.Sys().Mount("one", &api.MountInput{Type: "kv", Description: "first"}))
		done(root.Sys().Mount("two", &api.MountInput{Type: "kv", Options: map[string]string{"version": "2"}}))
		equal(must(root.Sys().MountInfo("two")).Options, map[string]string{"version": "2"})
	})
	check("kv v1: Put, Get, List, Scan, Delete", func() {
		done(one.Put(ctx, "app/db", map[string]any{"user": "ann", "port": 5432}))
		done(one.Put(ctx, "app/deep/er", map[string]any{"a": "b"}))
		equal(must(one.Get(ctx, "app/db")).Data, map[string]any{"user": "ann", "port": number("5432")})
		equal(must(one.List(ctx, "app")).Keys, []string{"db", "deep/"})
		equal(len(must(one.Scan(ctx, "app")).Keys), 2)
		done(one.Delete(ctx, "app/db"))
		_, err := one.Get(ctx, "app/db")
		holds(errors.Is(err, api.ErrSecretNotFound), "a missing secret is no ErrSecretNotFound")
	})
	check("kv v1: numbers keep their digits", func() {
		_ = must(logical.WriteBytes("one/numbers", []byte(`{"big":9007199254740993,"exact":1.10}`)))
		data := must(logical.Read("one/numbers")).Data
		equal(data, map[string]any{"big": number("9007199254740993"), "exact": number("1.10")})
	})
	check("kv v2: Put, Get, GetVersion, Patch both ways", func() {
		equal(must(two.Put(ctx, "app", map[string]any{"a": "1", "b": "2"})).VersionMetadata.Version, 1)
		equal(must(two.Patch(ctx, "app", map[string]any{"b": "3"})).VersionMetadata.Version, 2)
		equal(must(two.Patch(ctx, "app", map[string]any{"c": "4"}, api.WithMergeMethod("rw"))).VersionMetadata.Version, 3)
		newest := must(two.Get(ctx, "app"))
		equal(newest.Data, map[string]any{"a": "1", "b": "3", "c": "4"})
		holds(time.Since(newest.VersionMetadata.CreatedTime) < time.Hour, "the version's time is wrong")
		equal(must(two.GetVersion(ctx, "app", 1)).Data, map[string]any{"a": "1", "b": "2"})
		_, err := two.Get(ctx, "none")
		holds(errors.Is(err, api.ErrSecretNotFound), "a missing secret is no ErrSecretNotFound")
	})
	check("kv v2: check-and-set", func() {
		_ = must(two.Put(ctx, "cas", map[string]any{"a": "1"}, api.WithCheckAndSet(0)))
		_, err := two.Put(ctx, "cas", map[string]any{"a": "2"}, api.WithCheckAndSet(0))
		holds(err != nil, "a write with an old version was taken")
		_ = must(two.Put(ctx, "cas", map[string]any{"a": "2"}, api.WithCheckAndSet(1)))
	})
	check("kv v2: Delete, DeleteVersions, Undelete, Destroy, Rollback", func() {
		done(two.Delete(ctx, "app"))
		deleted := must(two.Get(ctx, "app"))
		holds(deleted.Data == nil && !deleted.VersionMetadata.DeletionTime.IsZero(), "a deleted version tells not so")
		done(two.Undelete(ctx, "app", []int{3}))
		done(two.DeleteVersions(ctx, "app", []int{1}))
		done(two.Destroy(ctx, "app", []int{1}))
		versions := must(two.GetVersionsAsList(ctx, "app"))
		equal(len(versions), 3)
		equal([]bool{versions[0].Destroyed, versions[2].DeletionTime.IsZero()}, []bool{true, true})
		equal(must(two.Rollback(ctx, "app", 2)).VersionMetadata.Version, 4)
		equal(must(two.Get(ctx, "app")).Data, map[string]any{"a": "1", "b": "3"})
	})
	check("kv v2: PutMetadata, PatchMetadata, GetMetadata, DeleteMetadata", func() {
		owner := map[string]any{"owner": "ann"}
		done(two.PutMetadata(ctx, "app", api.KVMetadataPutInput{MaxVersions: 7, DeleteVersionAfter: time.Hour, CustomMetadata: owner}))
		seven, required := 5, true
		done(two.PatchMetadata(ctx, "app", api.KVMetadataPatchInput{MaxVersions: &seven, CASRequired: &required}))
		metadata := must(two.GetMetadata(ctx, "app"))
		equal(metadata.MaxVersions, 5)
		equal(metadata.CASRequired, true)
		equal(metadata.DeleteVersionAfter, time.Hour)
		equal(metadata.CustomMetadata, owner)
		equal(must(two.Get(ctx, "app")).CustomMetadata, owner)
		done(two.DeleteMetadata(ctx, "app"))
	})
	check("kv v2: List, Scan, ListWithDetails, ScanWithDetails", func() {
		for _, path := range []string{"tree/b", "tree/a", "tree/c/d"} {
			_ = must(two.Put(ctx, path, map[string]any{"x": "1"}))
		}
		equal(must(two.List(ctx, "tree")).Keys, []string{"a", "b", "c/"})
		equal(len(must(two.Scan(ctx, "tree")).Keys), 3)
		equal(must(two.ListWithDetails(ctx, "tree")).Metadata["a"].CurrentVersion, 1)
		equal(must(two.ScanWithDetails(ctx, "tree")).Metadata["c/d"].CurrentVersion, 1)
	})
	check("list: pages by ListPage and ScanPage, nothing is nil", func() {
		equal(must(logical.ListPage("two/metadata/tree", "a", 1)).Data["keys"], []any{"b"})
		equal(len(must(logical.ScanPage("two/metadata/tree", "", 2)).Data["keys"].([]any)), 2)
		empty := must(logical.List("two/metadata/nothing"))
		holds(empty == nil, "an empty list is not nil")
	})
	check("refusals: warnings and errors arrive", func() {
		wrong := must(logical.Read("two/app"))
		holds(wrong != nil && len(wrong.Warnings) == 1, "a path without data/ gives no warning")
		_, err := client("unknown").Logical().Read("one/numbers")
		refused(err, 403, "permission denied")
		_, err = logical.Write("two/data/x", map[string]any{"y": 1})
		refused(err, 400, "no data provided")
	})
}
