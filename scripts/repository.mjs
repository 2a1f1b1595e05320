/** The page of the repository that package.json names. */

/** @param {{ repository?: string | { url?: string } }} manifest */
export function repositoryUrl({ repository }) {
  const url = typeof repository === 'string' ? repository : repository?.url;
  const [, path] = /^(?:git\+)?https:\/\/github\.com\/([\w.-]+\/[\w.-]+?)(?:\.git)?$/.exec(url ?? '') ?? [];
  if (path === undefined) {
    throw new Error(
      `package.json: repository: expected { "type": "git", "url": "git+https://github.com/OWNER/NAME.git" }, got ${JSON.stringify(repository)}: ` +
        'the registry compares it with the repository that publishes, and the links of the README need it',
    );
  }
  return `https://github.com/${path}`;
}
