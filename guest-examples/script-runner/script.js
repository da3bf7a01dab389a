// Turns a script, which is an ES module, into a program that can be evaluated in each run: a
// function that takes what the script imports and returns what it exports. QuickJS cannot load a
// module after it was built into a component. No line and no column moves.
import { Parser } from 'acorn';

/** The newest syntax that QuickJS and the parser know. */
const ECMA_VERSION = 'latest';

/** Why a script cannot be used, and where. Columns begin at 0. */
export class ScriptError extends Error {
  constructor(message, { line, column } = {}) {
    super(message);
    this.line = line;
    this.column = column;
  }
}

const ModuleParser = Parser.extend((Base) => class extends Base {
  parseExprImport() {
    return this.raise(this.start, 'import() and import.meta cannot be used in a script');
  }

  parseAwait(...more) {
    if (!this.inAsync) this.raise(this.start, 'await cannot be used in a script; a request ends within `send`');
    return super.parseAwait(...more);
  }
});

/** Where an error is. What is missing at the end is missing after the last line that has something. */
function placeOf({ pos, loc }, text) {
  const end = text.trimEnd();
  if (pos < end.length) return loc;
  const lines = end.split(/\r\n|[\n\r\u2028\u2029]/);
  return { line: lines.length, column: lines.at(-1).length };
}

function parse(text) {
  try {
    return ModuleParser.parse(text, {
      ecmaVersion: ECMA_VERSION, sourceType: 'module', locations: true, allowHashBang: true,
    });
  } catch (error) {
    if (!error.loc) throw error;
    throw new ScriptError(error.message.replace(/ \(\d+:\d+\)$/, ''), placeOf(error, text));
  }
}

/** Replaces a statement by an empty one of the same shape. */
const blank = (text) => `;${text.slice(1).replace(/[^\r\n\u2028\u2029]/g, ' ')}`;
const nameOf = (node) => (node.type === 'Literal' ? node.value : node.name);

/** The names that a declaration declares, also by patterns. */
function declared(node) {
  switch (node?.type) {
    case undefined: return [];
    case 'Identifier': return [node.name];
    case 'VariableDeclaration': return node.declarations.flatMap(({ id }) => declared(id));
    case 'FunctionDeclaration': case 'ClassDeclaration': return declared(node.id);
    case 'ObjectPattern': return node.properties.flatMap((it) => declared(it.value ?? it));
    case 'ArrayPattern': return node.elements.flatMap(declared);
    case 'RestElement': return declared(node.argument);
    case 'AssignmentPattern': return declared(node.left);
    default: return [];
  }
}

/** What each import of the script needs: the name in the script, the interface, the member. */
function importsOf(node, modules) {
  const from = node.source.value;
  const at = node.loc.start;
  if (!Object.hasOwn(modules, from)) {
    throw new ScriptError(`there is no "${from}" to import; a script can import ${Object.keys(modules).join(', ')}`, at);
  }
  return node.specifiers.map((specifier) => {
    const local = specifier.local.name;
    if (specifier.type !== 'ImportSpecifier') return { local, from };
    const member = nameOf(specifier.imported);
    if (!Object.hasOwn(modules[from], member)) {
      const members = Object.keys(modules[from]).join(', ');
      throw new ScriptError(`"${from}" has no \`${member}\`; it has ${members}`, specifier.loc.start);
    }
    return { local, from, member };
  });
}

/** Returns the program of a script: what it imports, the names that it exports, and its code. */
export function prepared(text, modules) {
  const imports = [], interfaces = new Set(), exported = new Map(), pieces = [];
  let done = 0;
  const replace = ({ start, end }, by) => {
    pieces.push(text.slice(done, start), by);
    done = end;
  };
  for (const node of parse(text).body) {
    const { start, end } = node, source = text.slice(start, end);
    switch (node.type) {
      case 'ImportDeclaration':
        imports.push(...importsOf(node, modules));
        interfaces.add(node.source.value);
        replace(node, blank(source));
        break;
      case 'ExportNamedDeclaration':
        if (node.source) throw new ScriptError('a script cannot export what it imports', node.loc.start);
        for (const name of declared(node.declaration)) exported.set(name, name);
        for (const it of node.specifiers) exported.set(nameOf(it.exported), nameOf(it.local));
        if (node.declaration) replace({ start, end: start + 'export'.length }, blank('export'));
        else replace(node, blank(source));
        break;
      case 'ExportDefaultDeclaration': case 'ExportAllDeclaration':
        throw new ScriptError('export plugin, defects, kpis and followUp by their names', node.loc.start);
      default:
    }
  }
  pieces.push(text.slice(done));
  const body = pieces.join('').replace(/^#!/, '//');
  const names = [...exported].map(([name, local]) => `${JSON.stringify(name)}: ${local}`).join(', ');
  // One line before the script: see stack.js. Another after it, as it may end in a comment.
  const code = `"use strict"; (function (${imports.map(({ local }) => local).join(', ')}) {\n${body}\n; return {${names}}; })`;
  return { imports, interfaces: [...interfaces], exports: [...exported.keys()], code };
}

/** Runs the top level of a program, and returns what the script exports. */
export function evaluated({ imports, code }, modules) {
  const values = imports.map(({ from, member }) => (member ? modules[from][member] : modules[from]));
  return (0, eval)(code).apply(undefined, values);
}
