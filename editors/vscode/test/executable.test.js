"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const test = require("node:test");

const { candidates, find, probe } = require("../executable");

/** A program in a new folder. */
function program(name, script) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "recipe-"));
  const file = path.join(folder, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return { folder, file };
}

const unix = { skip: process.platform === "win32" };

test("a setting is the only candidate", () => {
  const found = candidates({ setting: ["my recipe", "x"], folders: ["/a"], interpreter: "/p" });
  assert.deepStrictEqual(found.map((one) => one.command), [["my recipe", "x"]]);
});

test("environments come before the PATH, and interpreters after it", unix, () => {
  const { folder } = program(".venv/bin/recipe", "");
  const found = candidates({ folders: ["/nowhere", folder], interpreter: "/opt/python", platform: "linux" });
  assert.deepStrictEqual(
    found.map((one) => one.command.join(" ")),
    [`${folder}/.venv/bin/recipe`, "/opt/python -m recipelang", "recipe", "python3 -m recipelang", "python -m recipelang"],
  );
  assert.strictEqual(candidates({ platform: "win32" })[1].command[0], "py");
});

test("another program of the same name is not taken", unix, async () => {
  const other = program("recipe", 'echo "recipe 3.1, a cook book"');
  assert.match((await probe([other.file])).why, /another program/);
});

test("a program says why it does not start", unix, async () => {
  const broken = program("recipe", "echo 'no module named recipelang' >&2; exit 1");
  assert.strictEqual((await probe([broken.file])).why, "no module named recipelang");
  assert.strictEqual((await probe(["/nowhere/recipe"])).why, "there is no such program");
});

test("the first that is recipelang is taken, and the others are told", unix, async () => {
  const right = program(".venv/bin/recipe", 'test "$1" = --version && echo "recipelang, version 0.1.0"');
  const found = await find({ folders: [right.folder] });
  assert.deepStrictEqual([found.command, found.version, found.tried], [[`${right.folder}/.venv/bin/recipe`], "0.1.0", []]);
  const none = await find({ setting: ["/nowhere/recipe"] });
  assert.strictEqual(none.command, undefined);
  assert.deepStrictEqual(none.tried, ["/nowhere/recipe (the setting `recipelang.command`): there is no such program"]);
});
