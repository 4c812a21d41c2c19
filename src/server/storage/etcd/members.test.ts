import { describe, expect, it } from "vitest";
import { Members } from "./members.ts";

const named = (...clientUrls: string[]) => ({ clientUrls, isLearner: false });

describe("the members of a cluster", () => {
  it("are the configured ones until the cluster names itself, which goes before", () => {
    const members = new Members(["http://seed:2379"]);
    expect(members.current).toBe("http://seed:2379");
    expect(members.learn([named("http://a:2379"), named("http://b:2379/"), named()])).toBe(true);
    expect(members.addresses).toEqual(["http://a:2379", "http://b:2379", "http://seed:2379"]);
    expect(members.current).toBe("http://seed:2379");
    members.skip();
    expect(members.current).toBe("http://a:2379");
    expect(members.learn([named("http://a:2379"), named("http://b:2379")])).toBe(false);
  });

  it("leave out who was removed, who has no vote, and who would be reached without TLS", () => {
    const members = new Members(["https://a:2379"]);
    members.learn([
      named("https://b:2379"),
      named("http://c:2379"),
      { clientUrls: ["https://d:2379"], isLearner: true },
    ]);
    expect(members.addresses).toEqual(["https://b:2379", "https://a:2379"]);
    members.learn([named("https://e:2379"), named("nonsense")]);
    expect(members.addresses).toEqual(["https://e:2379", "https://a:2379"]);
  });
});
