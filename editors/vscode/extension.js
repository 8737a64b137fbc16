// The client of `recipe lsp`: starts the language server, says clearly where it cannot, and runs recipes in a terminal.
"use strict";

const vscode = require("vscode");
const { find } = require("./executable");

const SELECTOR = [
  { language: "recipe", scheme: "file" },
  { language: "recipe", scheme: "untitled" },
];

/** @type {import("vscode-languageclient/node").LanguageClient | undefined} */
let client;
/** @type {{dispose(): void} | undefined} what tells the server of files that change outside the editor */
let watcher;
/** @type {string[]} the command that the server was started with */
let recipe = ["recipe"];
/** @type {Promise<void>} starts and stops, one after another */
let turn = Promise.resolve();

async function activate(context) {
  const output = vscode.window.createOutputChannel("Recipe");
  const again = () => (turn = turn.then(() => stop()).then(() => start(output)).catch((error) => tell(output, error)));
  context.subscriptions.push(
    output,
    vscode.commands.registerCommand("recipelang.restart", again),
    vscode.commands.registerCommand("recipelang.run", () => inTerminal("run")),
    vscode.commands.registerCommand("recipelang.plan", () => inTerminal("plan")),
    vscode.workspace.onDidGrantWorkspaceTrust(again),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (change.affectsConfiguration("recipelang.command")) again();
    }),
  );
  await again();
}

async function deactivate() {
  await turn;
  await stop();
}

/** Find `recipe` and start its language server. */
async function start(output) {
  const trusted = vscode.workspace.isTrusted;
  const folders = (vscode.workspace.workspaceFolders ?? []).filter((folder) => folder.uri.scheme === "file");
  const paths = folders.map((folder) => folder.uri.fsPath);
  const found = await find({
    setting: vscode.workspace.getConfiguration("recipelang").get("command", []),
    folders: trusted ? paths : [],
    interpreter: trusted ? await interpreter(folders[0]?.uri) : "",
    folder: trusted ? paths[0] : undefined,
  });
  found.tried.forEach((line) => output.appendLine(`not ${line}`));
  if (!found.command) {
    return offer(output, "recipelang was not found, so recipes are coloured and not checked. " +
      'Install it with `pip install "recipelang[lsp]"`, or say where it is in `recipelang.command`.');
  }
  recipe = found.command;
  output.appendLine(`recipelang ${found.version}: ${recipe.join(" ")} (${found.origin})`);
  const { LanguageClient, TransportKind } = require("vscode-languageclient/node"); // only where there is a server
  const [command, ...words] = recipe;
  const options = { cwd: trusted ? paths[0] : undefined };
  const server = { command, args: [...words, "lsp"], options, transport: TransportKind.stdio };
  watcher = vscode.workspace.createFileSystemWatcher("**/{*.rcp,recipe.yaml}"); // recipes used, and the profile
  client = new LanguageClient("recipelang", "Recipe", server, {
    documentSelector: SELECTOR,
    outputChannel: output,
    synchronize: { fileEvents: watcher },
  });
  try {
    await client.start();
  } catch (error) {
    client = undefined;
    output.appendLine(String(error));
    offer(output, 'The language server of recipelang did not start. It needs the extra `lsp`: `pip install "recipelang[lsp]"`.');
  }
}

async function stop() {
  const running = client;
  client = undefined;
  watcher?.dispose();
  await running?.dispose();
}

/** The interpreter that the Python extension has chosen, where that is installed. */
async function interpreter(uri) {
  try {
    const python = vscode.extensions.getExtension("ms-python.python");
    const api = python && (python.isActive ? python.exports : await python.activate());
    const chosen = api?.environments?.getActiveEnvironmentPath(uri);
    const resolved = chosen && (await api.environments.resolveEnvironment(chosen));
    return resolved?.executable?.uri?.fsPath ?? "";
  } catch {
    return ""; // another extension's trouble is not ours
  }
}

/** Say what is wrong, with the way to the log and to the setting. */
function offer(output, message) {
  output.appendLine(message);
  vscode.window.showWarningMessage(message, "Open Log", "Open Setting").then((answer) => {
    if (answer === "Open Log") output.show();
    if (answer === "Open Setting") vscode.commands.executeCommand("workbench.action.openSettings", "recipelang.command");
  });
}

function tell(output, error) {
  offer(output, `The extension for recipes failed: ${error?.message ?? error}`);
}

/** Run a command on the recipe in the editor, in a terminal: a run takes minutes, and its bar belongs there. */
async function inTerminal(command) {
  const document = vscode.window.activeTextEditor?.document;
  if (!document || document.languageId !== "recipe") return;
  if (!vscode.workspace.isTrusted) {
    return void vscode.window.showWarningMessage("A recipe is run in a trusted folder alone.");
  }
  if (document.isUntitled || document.isDirty) {
    if (!(await document.save())) return;
  }
  const cwd = vscode.workspace.getWorkspaceFolder(document.uri)?.uri.fsPath;
  const [shellPath, ...words] = recipe;
  // A task takes the words one by one, so that no shell reads a file's name as something else.
  const task = new vscode.Task(
    { type: "process", command },
    vscode.TaskScope.Workspace,
    command,
    "recipe",
    new vscode.ProcessExecution(shellPath, [...words, command, document.uri.fsPath], { cwd }),
    [],
  );
  await vscode.tasks.executeTask(task);
}

module.exports = { activate, deactivate };
