// Stack traces with the name and the lines of the script, without the frames of the runner.

/** What QuickJS calls the text that is given to `eval`. */
const EVALUATED = '<input>';
/** How many lines come before the script in the text that is evaluated. */
const LINES_BEFORE = 1;

let file = 'script.js';
/** Sets the file name in the stack traces from now on. */
export function name(of) { file = of; }

/** Puts the script in the place of its frames. The script may replace this; it sees only itself. */
Error.prepareStackTrace = (_, frames) => {
  const lines = [];
  for (const frame of frames) {
    if (frame.getFileName() !== EVALUATED) continue;
    const line = frame.getLineNumber() - LINES_BEFORE;
    const place = `${file}:${line}:${frame.getColumnNumber()}`;
    const of = frame.getFunctionName();
    lines.push(of && of !== '<eval>' ? `    at ${of} (${place})` : `    at ${place}`);
  }
  return lines.join('\n');
};
