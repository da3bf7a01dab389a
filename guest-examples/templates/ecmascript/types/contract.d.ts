// The types of the contract with Jackfield, for editors and for TypeScript. Generated from
// wit/connector.wit by `jco guest-types`; the comments are the author's manual.

declare module 'jackfield:connector/model@0.1.0' {
  /**
   * One failed test, as the Create Defect request identifies it. If the same test case fails in
   * another execution or with another variation, that is a different failed test.
   */
  export interface FailedTest {
    /**
     * Lower-case UUID.
     */
    testExecutionId: string,
    /**
     * Lower-case UUID.
     */
    testCaseId: string,
    /**
     * Free text that a person typed; it may contain line breaks and markup. Absent if Test
     * Manager sends null or an empty text.
     */
    variationId?: string,
    /**
     * Address of the test case log, as Test Manager sent it. Absent if it sent none.
     */
    link?: string,
  }
  /**
   * The tracker's record of a failed test. Test Manager shows it beside the test case log.
   *
   * The title, link, status and priority have at most 4 KiB each, the description at most 64 KiB.
   * A defect that exceeds these sizes, or breaks a rule below, counts as a fault of the connector.
   */
  export interface Defect {
    /**
     * The tracker's own key, the text that a person would search for: "QA-123", "4711". 1 to 255
     * bytes.
     */
    key: string,
    title: string,
    /**
     * Absolute http or https address that a person can open in a browser: the page of the
     * defect, not its API address.
     */
    link: string,
    /**
     * In the tracker's own words: "New", "In Progress".
     */
    status?: string,
    /**
     * In the tracker's own words: "High".
     */
    priority?: string,
    description?: string,
  }
  /**
   * The numbers of defects. Each number must come from the tracker. If a number is not
   * available, return an error; never estimate. Test Manager accepts at most 2,147,483,647; the
   * host refuses larger numbers. (Not u64, which is a number in one JavaScript engine and a
   * BigInt in another.)
   */
  export interface Counts {
    open: number,
    /**
     * The host reports the sum of open and closed as the total.
     */
    closed: number,
    /**
     * Counts open defects only. The connection's settings define which priorities are critical.
     */
    critical: number,
    /**
     * Counts open defects only, without the critical ones.
     */
    moderate: number,
    /**
     * Absolute http or https address of a page that lists the open critical defects.
     */
    criticalLink?: string,
  }
  /**
   * The kind of an error. The number is the HTTP status that the sender of the webhook receives.
   * # Variants
   *
   * ## `"rejected"`
   *
   * 422: the tracker refused the data, or it does not have something that a setting names.
   * ## `"unauthorized"`
   *
   * 502: the tracker refused the credentials, or their user does not have the right to do
   * this.
   * ## `"unavailable"`
   *
   * 503: the tracker is down or unreachable, or its answer does not have the expected format.
   * ## `"rate-limited"`
   *
   * 503 with Retry-After: the tracker asks the client to wait. Some trackers also answer like
   * this to a user who is locked, so repeat their words in the message.
   * ## `"unsupported"`
   *
   * 501: this tracker, or this connector, does not support the operation.
   * ## `"internal"`
   *
   * 502: every other error, which means a mistake in the connector.
   */
  export type ErrorCode = 'rejected' | 'unauthorized' | 'unavailable' | 'rate-limited' | 'unsupported' | 'internal';
  /**
   * The reason why the connector could not do what the host requested.
   *
   * After `create` returns an error, the host decides from its own record of the writes that were
   * sent, not from this error, whether a defect may exist. If no write was sent, the next Create
   * Defect request runs `create` again. If the tracker refused each write with one of the statuses
   * 400, 401, 405, 407, 411, 413, 414, 415, 422, 429 and 431, the next request runs `find` and
   * then `create`. After any other answer, or none, the defect is in doubt: before `create` runs
   * again, `find` must run some time after the write and find nothing.
   */
  export interface Error {
    code: ErrorCode,
    /**
     * Shown to a person: say what was requested, what the tracker answered in its own words, and
     * what to change. The host redacts secrets in it and keeps at most 4 KiB.
     */
    message: string,
    /**
     * The name of the setting to change, if it is one setting. The host adds it to the message,
     * and the console leads from the message to that setting.
     */
    setting?: string,
    /**
     * How long the tracker asks the client to wait. Only used with `rate-limited`; 60 if absent.
     */
    retryAfterSeconds?: number,
  }
}

declare module 'jackfield:connector/plugin@0.1.0' {
  /**
   * Returns the manifest of this connector. The host calls it when it loads the file, without a
   * connection: the settings are empty and requests are denied. It must return the same value each
   * time.
   */
  export function describe(): Manifest;
  /**
   * Checks whether this connection can be used. Ask the tracker which user the credentials
   * belong to, and whether everything that the settings name exists. Return one line that says
   * what was reached and as which user. Writes are denied.
   */
  export function check(): string;
  /**
   * Returns possible values of a setting that is marked `jackfield:lookup`, based on the settings
   * that have a value already; others may still be missing. `search` is the text that a person
   * typed to find a value, or empty. Pass it to a tracker that has thousands of values; if the
   * list is short, you may ignore it. Forms and the CLI show the values. Writes are denied.
   */
  export function choices(setting: string, search: string): ChoicesPage;
  export type Error = import('jackfield:connector/model@0.1.0').Error;
  /**
   * Describes the connector: its name, its version, and what it needs from a connection.
   */
  export interface Manifest {
    /**
     * A name for people. Connections refer to the connector by the name of its file instead:
     * `redmine` for `plugins/redmine.wasm`. At most 100 bytes.
     */
    name: string,
    /**
     * The connector's semantic version, such as "1.4.0". At most 100 bytes.
     */
    version: string,
    /**
     * One line of at most 500 bytes.
     */
    summary: string,
    /**
     * An http or https address of at most 500 bytes.
     */
    homepage?: string,
    /**
     * JSON Schema (2020-12) of a connection's settings, with at most 64 KiB. It describes one flat
     * object of at most 100 settings. Jackfield validates entered values with it, and forms and
     * the CLI show its texts. So give each setting a `title` and a `description`, list the
     * `required` settings, and write `"additionalProperties": false`. Forms show a `default`, but
     * the host does not fill it in, so the connector must apply it too.
     *
     * The name of a setting has 1 to 64 characters of a-z, 0-9 and `-`. These keywords of JSON
     * Schema are allowed in a setting: `type`, `title`, `description`, `default`, `enum`, `const`,
     * `format`, `minLength`, `maxLength`, `pattern`, `minimum`, `maximum`, `items` (with `type`
     * and `enum`), `minItems`, `maxItems`, `uniqueItems`, `examples`. Nested objects and
     * references are not allowed. A `format` is one of `date`, `date-time`, `email`, `hostname`,
     * `ipv4`, `ipv6`, `time`, `uri` and `uuid`. A `pattern` cannot contain look-around or
     * back-references. Jackfield reads these additional keywords:
     *
     * - `"jackfield:origin": true`: the setting is a base address. The person who creates the
     *   connection grants its scheme, host and port, and the connector can reach only granted
     *   origins. With `"const"` the connector fixes the address, and the person is asked to
     *   consent to it. An address that the connector chose (by `const`, by `enum`, or a
     *   `default` that applies) must be public.
     * - `"writeOnly": true`: the setting is a secret, 4 bytes to 16 KiB long. The connector
     *   never sees its value.
     * - `"jackfield:place"`: where the host puts this secret in each request to its origin:
     *   - `{"in":"bearer"}`
     *   - `{"in":"header","name":"X-Api-Key","prefix":""}`
     *   - `{"in":"basic","user":"login"}`: `user` names the setting that holds the user name.
     *     Without `user`, the secret itself is the user name.
     *   - `{"in":"query","name":"key"}`
     *   - `{"in":"json","pointer":"/password"}` and `{"in":"form","name":"password"}`: the
     *     connector reads a placeholder as the setting's value and writes it as the whole text at
     *     that place of a body: at a JSON pointer (RFC 6901) of a body `json`, or in a field of a
     *     body `form`. There the host replaces the placeholder with the secret. A request that
     *     has the placeholder anywhere else, or twice, or in a body of more than 64 KiB, is
     *     denied. If the tracker supports another place, use that place: it hides the secret
     *     better.
     *   - `{"in":"client-credentials","tokenUrl":"token-url","clientId":"client-id",
     *     "scope":"defects"}`: OAuth 2.0: with the secret, the host gets a token and sends it as
     *     with `bearer`. `tokenUrl` and `clientId` are names of settings.
     *
     *   If there are several origins, add `"origin":"url"`: the name of the setting whose origin
     *   receives the secret.
     * - `"jackfield:lookup": true`: the function `choices` lists the possible values.
     *
     * A complete example:
     *
     * ```json
     * {
       *   "type": "object",
       *   "properties": {
         *     "url": { "type": "string", "format": "uri", "title": "Tracker address",
         *              "description": "For example https://tracker.example.com",
         *              "jackfield:origin": true },
         *     "project": { "type": "string", "title": "Project", "jackfield:lookup": true },
         *     "critical": { "type": "array", "items": { "type": "string" }, "default": ["Blocker"],
         *                   "title": "Critical priorities" },
         *     "api-key": { "type": "string", "title": "API key", "writeOnly": true,
         *                  "jackfield:place": { "in": "header", "name": "X-Api-Key" } }
         *   },
         *   "required": ["url", "project", "api-key"],
         *   "additionalProperties": false
         * }
         * ```
         *
         * A new version of the connector may ask for more: another origin, another place for a
         * secret, another required setting. It serves an existing connection only after a person has
         * accepted this.
         */
        settings: string,
        /**
         * The index delay of the tracker's search: how many seconds after a write `find` is sure to
         * see the new record. 0 if the search is immediate, at most 86,400. Trackers that index in
         * the background need a larger number. If it is too small, a second defect may be created.
         * Absent: this tracker cannot be searched, so a person must resolve each defect in doubt.
         */
        indexDelaySeconds?: number,
      }
      /**
       * A possible value of a setting, and the label that a person reads.
       */
      export interface Choice {
        value: string,
        label: string,
      }
      /**
       * Return at most a few hundred choices; the host refuses more than 10,000. `more` is true if the
       * tracker has more values, which a more specific search text finds.
       */
      export interface ChoicesPage {
        choices: Array<Choice>,
        more: boolean,
      }
    }

declare module 'jackfield:connector/defects@0.1.0' {
  /**
   * Creates the defect of a failed test.
   *
   * The marker has 26 lower-case letters and digits, is one word for a search, and is unique to
   * this defect. Store it, by the request that creates the defect, where `find` can search for it:
   * in a custom field, a label, or the description. Once a write was sent for a failed test, the
   * host searches before it calls `create` again for this test. So the connector must neither
   * search first nor retry.
   *
   * Start with the steps that may fail, such as looking up ids and checking settings, and send
   * the only write last. Once the tracker has answered that write with success, return ok, even
   * if something fails afterwards.
   */
  export function create(test: FailedTest, marker: string): Defect;
  /**
   * Returns the defects that contain `marker`, open or closed, even if people have moved them
   * elsewhere in the tracker: usually one or none, the oldest first. Look also where earlier
   * versions of this connector stored the marker.
   *
   * This answer decides whether a second defect is created. So an empty list must mean: the
   * tracker was searched with valid credentials that have all the rights they need, and it does
   * not have the defect. Some trackers answer a wrong API key, or a filter that they do not know,
   * with status 200. So check that the results contain the marker and, if there are no results,
   * that the credentials are valid. If the tracker's answer is incomplete, return an error. If the
   * tracker cannot search at all, leave `index-delay-seconds` of the manifest absent. Writes are
   * denied.
   */
  export function find(marker: string): Array<Defect>;
  export type FailedTest = import('jackfield:connector/model@0.1.0').FailedTest;
  export type Defect = import('jackfield:connector/model@0.1.0').Defect;
  export type Error = import('jackfield:connector/model@0.1.0').Error;
}

declare module 'jackfield:connector/kpis@0.1.0' {
  /**
   * Counts the defects in the tracker that the settings select, also those that Jackfield did not
   * create. `project` is the project id of Test Manager's request, unchanged, at most 128
   * characters. Usually the settings name the tracker's project, and the connector ignores this
   * parameter. The host caches the answer (30 seconds by default), so the connector should always
   * ask the tracker. Writes are denied.
   */
  export function count(project: string): Counts;
  export type Counts = import('jackfield:connector/model@0.1.0').Counts;
  export type Error = import('jackfield:connector/model@0.1.0').Error;
}

declare module 'jackfield:connector/follow-up@0.1.0' {
  /**
   * Returns the defect with this key as it is now. If people moved it, follow the move and return
   * the current key. Return none only if the tracker says, with valid credentials, that it is
   * gone. Writes are denied.
   */
  export function state(key: string): Current | undefined;
  /**
   * Adds a comment that says that the test failed again. Its text is `report.comment`, or has at
   * least the ids and the link of `test`. The marker belongs to this comment, not to the defect,
   * and must be in the request that adds it, so that `find-comment` finds it. Like `create`, do
   * not search first, do not retry, and return ok once the tracker has answered with success.
   */
  export function comment(key: string, test: FailedTest, marker: string): void;
  /**
   * Returns whether the defect has a comment that contains the marker. If the tracker's answer is
   * incomplete, return an error, because the host adds the comment again if this returns false. If
   * the connector cannot read comments, return `unsupported`: the host then sends each comment at
   * most once. Writes are denied.
   */
  export function findComment(key: string, marker: string): boolean;
  /**
   * Opens a closed defect again; does nothing if it is open. The host may call it again after the
   * tracker's answer was lost.
   */
  export function reopen(key: string): void;
  /**
   * Attaches the attachment of `report` with this id under its `name`. If an upload becomes an
   * attachment only by a second request, the upload is `prepare` and the second request is the
   * write. If the tracker takes no files, the error of `attach` and `attached` is `unsupported`.
   */
  export function attach(key: string, attachment: number): void;
  /**
   * Returns the names of the defect's attachments, at most 10,000 names of at most 4 KiB. The host
   * attaches every file that is missing in this list, so return an error if the tracker's answer
   * is incomplete. Writes are denied.
   */
  export function attached(key: string): Array<string>;
  export type FailedTest = import('jackfield:connector/model@0.1.0').FailedTest;
  export type Defect = import('jackfield:connector/model@0.1.0').Defect;
  export type Error = import('jackfield:connector/model@0.1.0').Error;
  /**
   * A defect as the tracker has it now.
   */
  export interface Current {
    /**
     * With its current key and link: people rename projects and move records.
     */
    defect: Defect,
    /**
     * Whether somebody still has to work on it: not closed, resolved or rejected.
     */
    open: boolean,
  }
}

declare module 'jackfield:connector/settings@0.1.0' {
  /**
   * Returns the setting with this name: a text unchanged, any other value as JSON text. Absent if
   * it is not set. A secret is always absent, except that a secret with the place `json` or `form`
   * returns its placeholder.
   */
  export function get(key: string): string | undefined;
  /**
   * Returns one JSON object with every key for which `get` returns a value. Each value keeps its
   * JSON type.
   */
  export function all(): string;
}

declare module 'jackfield:connector/http@0.1.0' {
  export function send(request: Request): Response;
  /**
   * # Variants
   *
   * ## `"get"`
   *
   * ## `"head"`
   *
   * ## `"options"`
   *
   * ## `"post"`
   *
   * ## `"put"`
   *
   * ## `"patch"`
   *
   * ## `"delete"`
   */
  export type Method = 'get' | 'head' | 'options' | 'post' | 'put' | 'patch' | 'delete';
  /**
   * The effect of a request on the tracker. The value must be correct: the promise that no failed
   * test gets two defects depends on it.
   * # Variants
   *
   * ## `"read"`
   *
   * Changes nothing, such as a search by POST. Follows up to 5 redirects; the connection must
   * grant the origin of each one.
   * ## `"prepare"`
   *
   * Creates something that is not a defect yet, such as a login or an upload. Follows no
   * redirect.
   * ## `"write"`
   *
   * May create or change a defect. Before the first byte is sent, the host stores durably that
   * this request is about to be sent. A write follows no redirect and is never sent twice.
   * Denied outside `create`, `comment`, `reopen` and `attach`, and after a write of the same
   * call that the tracker did not answer with 2xx. The first write must contain the marker:
   * without it, a defect in doubt cannot be searched for.
   */
  export type Effect = 'read' | 'prepare' | 'write';
  export type Content = ContentBytes | ContentText | ContentAttachment;
  export interface ContentBytes {
    tag: 'bytes',
    val: Uint8Array,
  }
  /**
   * Sent as UTF-8.
   */
  export interface ContentText {
    tag: 'text',
    val: string,
  }
  /**
   * The attachment of `report` with this id. If `file-name` or `media-type` is absent, the
   * attachment's own is used.
   */
  export interface ContentAttachment {
    tag: 'attachment',
    val: number,
  }
  /**
   * One part of a `multipart` body. `name`, `file-name` and `media-type` must not contain control
   * characters, quotes or backslashes: trackers disagree on how to escape them.
   */
  export interface Part {
    name: string,
    /**
     * Makes the part a file. A name without a path; characters beyond ASCII are sent as UTF-8.
     */
    fileName?: string,
    /**
     * The part's own Content-Type. If absent, an attachment has its own, another file has
     * `application/octet-stream`, and any other part has none, which means text.
     */
    mediaType?: string,
    content: Content,
  }
  export type Body = BodyBytes | BodyJson | BodyForm | BodyMultipart | BodyAttachment;
  /**
   * Sent as it is. Set the header `Content-Type` if the tracker needs one.
   */
  export interface BodyBytes {
    tag: 'bytes',
    val: Uint8Array,
  }
  /**
   * JSON text, sent as UTF-8. `Content-Type` is `application/json`, unless a header says
   * otherwise.
   */
  export interface BodyJson {
    tag: 'json',
    val: string,
  }
  /**
   * Fields of a form, encoded by the host, in this order; a name may occur more than once.
   * `Content-Type` is `application/x-www-form-urlencoded`, unless a header says otherwise.
   */
  export interface BodyForm {
    tag: 'form',
    val: Array<[string, string]>,
  }
  /**
   * `multipart/form-data`, at most 1,000 parts in this order. The host chooses a boundary that
   * no part contains and sets `Content-Type`; a request with this header is `invalid`.
   */
  export interface BodyMultipart {
    tag: 'multipart',
    val: Array<Part>,
  }
  /**
   * The attachment of `report` with this id, as the whole body. `Content-Type` is its own,
   * unless a header says otherwise.
   *
   * The host fetches it from Test Manager before the request is sent; the connector never has
   * it in its memory. If that fails, the request returns `unreachable`, and nothing was sent.
   */
  export interface BodyAttachment {
    tag: 'attachment',
    val: number,
  }
  export interface Request {
    method: Method,
    /**
     * If absent: `read` for get, head and options, otherwise `write`.
     */
    effect?: Effect,
    /**
     * The name of the setting (marked `jackfield:origin`) to whose address the host appends a path
     * in `url`. If absent, it is the connection's only such setting that has a value.
     */
    base?: string,
    /**
     * A path, which begins with `/`, or an absolute address.
     *
     * A path is appended to the address of the setting `base`, whose own path is kept: with the
     * address `https://host/redmine`, the path `/issues.json` is
     * `https://host/redmine/issues.json`. Percent-encode what people entered, also `/` (`%2F` is
     * sent as it is). A path that could mean another one is `invalid`: a path that has a segment
     * `.` or `..`, encoded or not, a backslash or a fragment. This finds mistakes, and is not a
     * protection: the connector may send any request to an origin that the connection grants.
     */
    url: string,
    /**
     * Parameters that the host encodes and adds to the query of `url`: everything but letters,
     * digits and `-._~` is percent-encoded (a space is `%20`). The complete address has at most
     * 8 KiB.
     */
    query: Array<[string, string]>,
    /**
     * At most 64 headers of 32 KiB in total (through wasi:http, 16 KiB). Denied: `Authorization`,
     * each header in which the host puts a secret, and, if the connection has secrets, `Range` and
     * `If-Range`. Dropped without an error: headers that control the HTTP connection or the
     * framing, because the host sets them itself (`Host`, `Connection`, `Content-Length`,
     * `Transfer-Encoding`, `Accept-Encoding`, `Expect`, `Keep-Alive`, `TE`, `Trailer`, `Upgrade`,
     * `HTTP2-Settings`), and every header whose name begins with `proxy-` or `jackfield-`.
     */
    headers: Array<[string, string]>,
    body?: Body,
  }
  /**
   * Every answer of the tracker is a response, including status 404 and 500. Only an
   * `http-error` means that there is no response. A secret that the tracker echoes is replaced by
   * `[secret]`.
   */
  export interface Response {
    status: number,
    /**
     * The address that answered: the request's own, or where redirects led.
     */
    url: string,
    /**
     * Names are in lower case; a name may occur more than once. A value that is not UTF-8 is read
     * as Latin-1.
     */
    headers: Array<[string, string]>,
    /**
     * The body, decompressed, as text without a byte order mark. It is decoded with the charset of
     * `Content-Type`, or as UTF-8; invalid bytes become U+FFFD. Absent if the body is not text:
     * its type is not `text/*`, JSON, XML, JavaScript or a form; or its charset is unknown; or
     * there is no `Content-Type`, and the body is not UTF-8.
     */
    text?: string,
    /**
     * The body, decompressed, if `text` is absent. Otherwise empty.
     */
    bytes: Uint8Array,
  }
  /**
   * The reason why there is no response. The texts are written for people; a connector may return
   * them in its own errors. The last sentence of each case names the `error` that usually fits.
   */
  export type HttpError = HttpErrorDenied | HttpErrorLimit | HttpErrorUnreachable | HttpErrorInterrupted | HttpErrorInvalid;
  /**
   * The host does not allow this request; the text says why. Usually `internal`.
   */
  export interface HttpErrorDenied {
    tag: 'denied',
    val: string,
  }
  /**
   * A limit was exceeded; the text names it. Usually `internal`.
   */
  export interface HttpErrorLimit {
    tag: 'limit',
    val: string,
  }
  /**
   * The tracker did not process the request, for example because connecting failed, or because
   * the tracker or a proxy refused it. Usually `unavailable`.
   */
  export interface HttpErrorUnreachable {
    tag: 'unreachable',
    val: string,
  }
  /**
   * The request may have been sent, but no complete response came back. The tracker may have
   * acted. Usually `unavailable`.
   */
  export interface HttpErrorInterrupted {
    tag: 'interrupted',
    val: string,
  }
  /**
   * The request is malformed and cannot be sent. Usually `internal`.
   */
  export interface HttpErrorInvalid {
    tag: 'invalid',
    val: string,
  }
}

declare module 'jackfield:connector/report@0.1.0' {
  /**
   * Returns the title in one line, with at most this many characters (Unicode scalar values).
   */
  export function title(maxCharacters: number): string;
  /**
   * Returns the description in a markup: `plain`, `markdown`, `html`, `textile`, `jira-wiki`,
   * `adf` (a JSON text) or `tracwiki`; any other name is the error `unsupported`. The text has at
   * most `max-characters` characters, and is cut so that it stays valid. If a marker is given, the
   * first line contains it and it is never cut; if not even the marker fits, the error is
   * `internal`.
   */
  export function description(markup: string, maxCharacters: number, marker: string | undefined): string;
  /**
   * Returns the comment on a defect whose test failed again. The parameters are as in
   * `description`.
   */
  export function comment(markup: string, maxCharacters: number, marker: string): string;
  /**
   * Returns the fields that the connection configures, in order. If the tracker has no field with
   * that name or id, note this in the description, or return `rejected` before the write.
   */
  export function fields(): Array<Field>;
  /**
   * Returns the files for the tracker, at most as many and as large as the connection allows. Send
   * them with `attachment` of `http`. If a file cannot be fetched, create the defect without it.
   */
  export function attachments(): Array<Attachment>;
  /**
   * Returns the content of an attachment, at most 32 MiB; if it cannot be fetched, the error is
   * `unavailable`. This function is rarely needed, because `http` sends attachments without it.
   */
  export function read(id: number): Uint8Array;
  export type Error = import('jackfield:connector/model@0.1.0').Error;
  /**
   * A text, or any JSON value as JSON text.
   */
  export type FieldValue = FieldValueText | FieldValueJson;
  export interface FieldValueText {
    tag: 'text',
    val: string,
  }
  export interface FieldValueJson {
    tag: 'json',
    val: string,
  }
  /**
   * A field of the tracker, under the name that a person gave it in the connection.
   */
  export interface Field {
    name: string,
    value: FieldValue,
  }
  export interface Attachment {
    /**
     * Identifies the attachment in this run, for `read` and for a body of `http`.
     */
    id: number,
    /**
     * `screenshot`, `robot-log` or `file`.
     */
    kind: string,
    /**
     * A file name without a path, quotes and control characters. No two attachments have the same
     * name.
     */
    name: string,
    /**
     * For example `image/png`.
     */
    mediaType: string,
    /**
     * Size in bytes; absent if it is not known before the download.
     */
    size?: number,
  }
}

declare module 'jackfield:connector/test-manager@0.1.0' {
  /**
   * Returns one subject as JSON, as Test Manager answers it: `project`, `test-case`,
   * `test-execution`, `test-case-log`, `assertions`, `robot-logs`, `attachments`, `requirements`,
   * `labels`, `custom-fields`, `test-set`, `steps` or `history`. Any other name is `unsupported`.
   * A list may be incomplete: it has at most the newest 200 `robot-logs`, the newest 20 of
   * `history`, and the first 500 `requirements`. Texts that the connection masks are masked. Test
   * Manager decides which members the objects have, and may change them with its version: read the
   * members that exist, and do without the others.
   *
   * Returns `null` outside `create`, `comment` and `attach`, and if the connection has no
   * credentials for Test Manager. If the data cannot be fetched, the error is `unavailable` and
   * says why; create the defect without it.
   */
  export function get(subject: string): string;
  export type Error = import('jackfield:connector/model@0.1.0').Error;
}

declare module 'jackfield:connector/log@0.1.0' {
  export function log(level: Level, message: string): void;
  /**
   * # Variants
   *
   * ## `"debug"`
   *
   * ## `"info"`
   *
   * ## `"warn"`
   *
   * ## `"error"`
   */
  export type Level = 'debug' | 'info' | 'warn' | 'error';
}
