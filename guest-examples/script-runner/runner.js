// Runs a script as a connector. The host calls `prepare` once for each content of a file, and the
// other exports in a fresh instance for each call.
//
// Whatever a script does to this instance ends with its call. The host decides what a script may
// reach: see host/src/runtime/script.rs.
import './prelude.js';
import './random.js';
import * as http from 'jackfield:connector/http@0.1.0';
import * as log from 'jackfield:connector/log@0.1.0';
import * as report from 'jackfield:connector/report@0.1.0';
import * as settings from 'jackfield:connector/settings@0.1.0';
import * as testManager from 'jackfield:connector/test-manager@0.1.0';
import { get } from 'jackfield:script/source@0.1.0';
import { ScriptError, evaluated, prepared } from './script.js';
import { name as nameFile } from './stack.js';
import { IMPORTS, INTERFACES, checked, guarded, isError } from './values.js';

/** What a script can import. */
const MODULES = Object.fromEntries(Object.entries({ http, log, report, settings, 'test-manager': testManager })
  .map(([name, { default: _, ...functions }]) => {
    const guardedOnes = Object.entries(functions).map(([it, real]) => [it, guarded(it, IMPORTS[name][it], real)]);
    return [`jackfield:connector/${name}@0.1.0`, Object.fromEntries(guardedOnes)];
  }));
const INTERFACE_NAMES = {
  plugin: 'jackfield:connector/plugin@0.1.0', defects: 'jackfield:connector/defects@0.1.0',
  kpis: 'jackfield:connector/kpis@0.1.0', followUp: 'jackfield:connector/follow-up@0.1.0',
};

/** Calls a function of the script. */
function call(of, member, values) {
  const name = `${of}.${member}`;
  const { file, program } = get();
  nameFile(file);
  const interfaceOf = evaluated(JSON.parse(program), MODULES)[of];
  let value;
  try { value = interfaceOf[member](...values); } catch (thrown) {
    if (isError(name, thrown) && name === 'plugin.describe') throw new Error(thrown.message);
    throw thrown;
  }
  return checked(name, INTERFACES[of][member], value);
}
const functions = (of) => Object.fromEntries(
  Object.keys(INTERFACES[of]).map((member) => [member, (...values) => call(of, member, values)]),
);
export const plugin = functions('plugin');
export const defects = functions('defects');
export const kpis = functions('kpis');
export const followUp = functions('followUp');

/** Says what is wrong with the exports of a script. */
function checkExports(exports) {
  if (exports.plugin === undefined) throw new ScriptError('it does not export `plugin`');
  for (const [of, members] of Object.entries(INTERFACES)) {
    const given = exports[of];
    if (given === undefined) continue;
    if (given === null || typeof given !== 'object') {
      throw new ScriptError(`the export \`${of}\` must be an object with the functions ${Object.keys(members).join(', ')}`);
    }
    for (const member of Object.keys(members)) {
      const name = `${of}.${member}`, it = given[member];
      if (typeof it !== 'function') throw new ScriptError(`the export \`${name}\` is not a function`);
      if (/^\[object Async/.test(Object.prototype.toString.call(it))) {
        throw new ScriptError(`the export \`${name}\` is async; it must not be, as a request ends within \`send\``);
      }
    }
  }
}

/** Where and why a script cannot be used, as a text for people. */
function reason(file, error) {
  if (error instanceof ScriptError) {
    const { line, column, message } = error;
    return line === undefined ? `${file}: ${message}` : `${file}:${line}:${column + 1}: ${message}`;
  }
  if (error instanceof Error) {
    const frames = error.stack.split('\n').map((frame) => frame.trim()).filter(Boolean);
    return [`${file}: ${error}`, ...frames].join(' ');
  }
  return `${file}: its top level threw ${error?.message ?? String(error)}`;
}

export const preparation = {
  prepare(file, text) {
    nameFile(file);
    try {
      const { imports, code, interfaces, exports } = prepared(text, MODULES);
      const names = exports.filter((it) => Object.hasOwn(INTERFACE_NAMES, it)).map((it) => INTERFACE_NAMES[it]);
      const answer = { program: JSON.stringify({ imports, code }), imports: interfaces, exports: names };
      checkExports(evaluated({ imports, code }, MODULES));
      return answer;
    } catch (error) {
      throw reason(file, error);
    }
  },
};
