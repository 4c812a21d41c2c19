// What a generator of files is: a name and the files that it makes, as text by path from the repository's root.
export type GeneratedFiles = ReadonlyMap<string, string>;

export interface Generator {
  readonly name: string;
  files(): GeneratedFiles | Promise<GeneratedFiles>;
}
