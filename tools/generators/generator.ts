// What a generator of files is: a name and the files that it makes, as text by path from the repository's root.
export interface Generator {
  readonly name: string;
  files(): ReadonlyMap<string, string>;
}
