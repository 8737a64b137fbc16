"use strict";

const assert = require("node:assert");
const Module = require("node:module");
const test = require("node:test");

/** What the extension uses of VS Code: it keeps what is registered, written and shown. */
function fake(setting, document) {
  const seen = { commands: {}, lines: [], warnings: [], tasks: [], listeners: {} };
  const listen = (name) => (listener) => ((seen.listeners[name] = listener), { dispose() {} });
  const vscode = {
    Task: class {
      constructor(definition, scope, name, source, execution) {
        Object.assign(this, { name, execution });
      }
    },
    ProcessExecution: class {
      constructor(program, words, options) {
        Object.assign(this, { program, words, options });
      }
    },
    TaskScope: { Workspace: 2 },
    commands: {
      registerCommand: (name, call) => ((seen.commands[name] = call), { dispose() {} }),
      executeCommand: () => {},
    },
    extensions: { getExtension: () => undefined },
    tasks: { executeTask: async (task) => void seen.tasks.push(task) },
    window: {
      activeTextEditor: document && { document },
      createOutputChannel: () => ({ appendLine: (line) => seen.lines.push(line), show() {}, dispose() {} }),
      showWarningMessage: async (message) => void seen.warnings.push(message),
    },
    workspace: {
      isTrusted: true,
      workspaceFolders: undefined,
      getConfiguration: () => ({ get: () => setting }),
      getWorkspaceFolder: () => undefined,
      onDidChangeConfiguration: listen("configuration"),
      onDidGrantWorkspaceTrust: listen("trust"),
    },
  };
  return { seen, vscode };
}

/** The extension with a VS Code of its own. */
async function activated(setting, document) {
  const { seen, vscode } = fake(setting, document);
  const load = Module._load;
  Module._load = (name, ...rest) => (name === "vscode" ? vscode : load(name, ...rest));
  try {
    delete require.cache[require.resolve("../extension")];
    const extension = require("../extension");
    await extension.activate({ subscriptions: [] });
    return { seen, vscode, extension };
  } finally {
    Module._load = load;
  }
}

const recipe = { languageId: "recipe", isDirty: false, isUntitled: false, uri: { fsPath: "/w/my recipe.rcp" } };

test("where recipelang is absent, a message says what to install, and the log what was tried", async () => {
  const { seen, extension } = await activated(["/nowhere/recipe"]);
  assert.strictEqual(seen.warnings.length, 1);
  assert.match(seen.warnings[0], /recipelang was not found.*pip install "recipelang\[lsp\]"/);
  assert.match(seen.lines[0], /^not \/nowhere\/recipe .*there is no such program/);
  await extension.deactivate();
});

test("a new setting is tried again, another change is not", async () => {
  const { seen } = await activated(["/nowhere/recipe"]);
  await seen.listeners.configuration({ affectsConfiguration: () => false });
  assert.strictEqual(seen.warnings.length, 1);
  await seen.listeners.configuration({ affectsConfiguration: (name) => name === "recipelang.command" });
  await seen.commands["recipelang.restart"]();
  assert.ok(seen.warnings.length >= 2);
});

test("a recipe is run as a process of its own, so that no shell reads its name", async () => {
  const { seen } = await activated(["/nowhere/recipe"], recipe);
  await seen.commands["recipelang.plan"]();
  assert.deepStrictEqual(seen.tasks[0].execution.words, ["plan", "/w/my recipe.rcp"]);
});

test("nothing runs in a folder that is not trusted, and no other file runs at all", async () => {
  const { seen, vscode } = await activated(["/nowhere/recipe"], recipe);
  vscode.workspace.isTrusted = false;
  await seen.commands["recipelang.run"]();
  vscode.workspace.isTrusted = true;
  vscode.window.activeTextEditor = { document: { ...recipe, languageId: "python" } };
  await seen.commands["recipelang.run"]();
  assert.deepStrictEqual(seen.tasks, []);
  assert.match(seen.warnings.at(-1), /trusted folder/);
});
