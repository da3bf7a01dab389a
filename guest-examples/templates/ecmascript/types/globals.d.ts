// The global objects that exist in addition to those of the language. QuickJS has no fetch, no timers, no
// crypto and no Intl. Send requests with the interface `http`.

interface Console {
  /** Adds a line to the run's log. */
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  debug(...values: unknown[]): void;
  trace(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
}
declare const console: Console;

declare class TextEncoder {
  encode(input?: string): Uint8Array;
}

declare class TextDecoder {
  constructor(label?: 'utf-8', options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(input?: ArrayBuffer | Uint8Array): string;
}

declare class URLSearchParams implements Iterable<[string, string]> {
  constructor(init?: string | Record<string, string> | Iterable<[string, string]>);
  append(name: string, value: string): void;
  delete(name: string, value?: string): void;
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string, value?: string): boolean;
  set(name: string, value: string): void;
  sort(): void;
  [Symbol.iterator](): Iterator<[string, string]>;
  toString(): string;
}

declare function structuredClone<T>(value: T): T;
declare function btoa(bytes: string): string;
declare function atob(base64: string): string;
