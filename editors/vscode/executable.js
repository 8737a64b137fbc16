// Which command starts `recipe` here. Knows nothing of VS Code, so that it can be tried without it.
"use strict";

const { execFile } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const PATIENCE = 20_000; // ms; a cold start on a network drive takes seconds

/**
 * Where `recipe` may be, the most certain first.
 *
 * @param {object} known
 * @param {string[]} [known.setting] the command that the user has set; nothing else is tried then
 * @param {string[]} [known.folders] trusted folders of the workspace, which may have a `.venv`
 * @param {string} [known.interpreter] the interpreter that the Python extension has chosen
 * @param {string} [known.platform] as in `process.platform`
 * @returns {{command: string[], origin: string}[]}
 */
function candidates({ setting = [], folders = [], interpreter = "", platform = process.platform } = {}) {
  if (setting.length) {
    return [{ command: setting, origin: "the setting `recipelang.command`" }];
  }
  const inside = platform === "win32" ? ["Scripts", "recipe.exe"] : ["bin", "recipe"];
  const found = [];
  for (const folder of folders) {
    const command = path.join(folder, ".venv", ...inside);
    if (fs.existsSync(command)) found.push({ command: [command], origin: `the environment of ${folder}` });
  }
  if (interpreter) {
    found.push({ command: [interpreter, "-m", "recipelang"], origin: "the interpreter of the Python extension" });
  }
  found.push({ command: ["recipe"], origin: "the PATH" });
  for (const python of platform === "win32" ? ["py", "python"] : ["python3", "python"]) {
    found.push({ command: [python, "-m", "recipelang"], origin: `\`${python}\` on the PATH` });
  }
  return found;
}

/**
 * What a command says of its version; other programs are called `recipe` too.
 *
 * @param {string[]} command
 * @param {string} [folder] where it is started
 * @returns {Promise<{version?: string, why?: string}>}
 */
function probe(command, folder) {
  const [program, ...words] = command;
  return new Promise((resolve) => {
    execFile(program, [...words, "--version"], { cwd: folder, timeout: PATIENCE }, (error, stdout, stderr) => {
      const match = /^recipelang\b.*?(\d+\.\d+\S*)/m.exec(stdout ?? "");
      if (match) return resolve({ version: match[1] });
      if (error?.code === "ENOENT") return resolve({ why: "there is no such program" });
      if (error?.killed) return resolve({ why: `no answer in ${PATIENCE / 1000} s` });
      const last = String(stderr ?? "").trim().split("\n").pop();
      resolve({ why: last || (error ? error.message : "it is another program") });
    });
  });
}

/**
 * The first candidate that is recipelang.
 *
 * @param {Parameters<typeof candidates>[0] & {folder?: string}} known
 * @returns {Promise<{command?: string[], version?: string, origin?: string, tried: string[]}>} `tried` says of each
 *   other one why it is not
 */
async function find(known = {}) {
  const tried = [];
  for (const { command, origin } of candidates(known)) {
    const { version, why } = await probe(command, known.folder);
    if (version) return { command, version, origin, tried };
    tried.push(`${command.join(" ")} (${origin}): ${why}`);
  }
  return { tried };
}

module.exports = { candidates, probe, find };
