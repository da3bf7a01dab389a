// Implements the functions that jackfield.h describes.
#include "jackfield.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

enum { PLAIN_BYTES_MAX = 300 };

// The first error of this call.
static bool has_error;
static bool is_404;
static error_t first_error;

const char *format(const char *format, ...) {
  va_list values;
  va_start(values, format);
  char *text = NULL;
  if (vasprintf(&text, format, values) < 0) abort();
  va_end(values);
  return text;
}

connector_string_t string(const char *text) {
  connector_string_t string;
  connector_string_dup(&string, text ? text : "");
  return string;
}

connector_option_string_t option(const char *text) {
  return (connector_option_string_t){.is_some = text != NULL, .val = string(text)};
}

const char *chars(connector_string_t string) {
  return format("%.*s", (int)string.len, (const char *)string.ptr);
}

void fail_with(error_t error) {
  if (!has_error) first_error = error;
  has_error = true;
}

void fail(jackfield_connector_model_error_code_t code, const char *setting, const char *message, ...) {
  va_list values;
  va_start(values, message);
  char *text = NULL;
  if (vasprintf(&text, message, values) < 0) abort();
  va_end(values);
  fail_with((error_t){.code = code, .message = string(text), .setting = option(setting)});
}

bool finish(error_t *error) {
  if (has_error) *error = first_error;
  return !has_error;
}

bool was_not_found(void) {
  const bool was_not_found = has_error && is_404;
  if (was_not_found) has_error = is_404 = false;
  return was_not_found;
}

static yyjson_val *parsed(const char *text) {
  return yyjson_doc_get_root(yyjson_read(text, strlen(text), 0));
}

yyjson_val *setting(const char *name) {
  connector_string_t all;
  jackfield_connector_settings_all(&all);
  yyjson_val *given = yyjson_obj_get(parsed(chars(all)), name);
  if (given) return given;
  return yyjson_ptr_get(parsed(SCHEMA), format("/properties/%s/default", name));
}

const char *setting_text(const char *name) {
  const char *text = yyjson_get_str(setting(name));
  return text ? text : "";
}

yyjson_mut_doc *object(void) {
  yyjson_mut_doc *document = yyjson_mut_doc_new(NULL);
  yyjson_mut_doc_set_root(document, yyjson_mut_obj(document));
  return document;
}

yyjson_val *part(yyjson_val *answer, const char *path) {
  yyjson_val *found = yyjson_ptr_get(answer, path);
  if (found && !yyjson_is_null(found)) return found;
  fail(UNAVAILABLE, NULL, "the tracker's answer has no %s; is the address right?", path);
  return NULL;
}

const char *text(yyjson_val *answer, const char *path) {
  yyjson_val *found = yyjson_ptr_get(answer, path);
  return yyjson_is_num(found) ? yyjson_val_write(found, 0, NULL) : yyjson_get_str(found);
}

const char *needed(yyjson_val *answer, const char *path) {
  yyjson_val *value = part(answer, path);
  const char *found = text(value, "");
  if (value && !found) fail(UNAVAILABLE, NULL, "%s of the answer is neither a text nor a number", path);
  return found ? found : "";
}

static const char *trimmed(const char *text) {
  while (isspace((unsigned char)*text)) ++text;
  size_t end = strlen(text);
  while (end > 0 && isspace((unsigned char)text[end - 1])) --end;
  return format("%.*s", (int)end, text);
}

const char *ids_of(yyjson_val *records, const char *setting_name, const char *separator) {
  const char *ids = "";
  size_t n, m, count, record_count;
  yyjson_val *name, *record;
  yyjson_arr_foreach(setting(setting_name), n, count, name) {
    const char *wanted = trimmed(yyjson_get_str(name)), *known = "", *id = NULL;
    yyjson_arr_foreach(records, m, record_count, record) {
      const char *called = needed(record, "/name");
      if (strcasecmp(called, wanted) == 0) id = needed(record, "/id");
      known = format("%s%s%s", known, *known ? ", " : "", called);
    }
    if (!id) fail(REJECTED, setting_name, "\"%s\" does not exist; there is: %s", wanted, known);
    ids = format("%s%s%s", ids, *ids ? separator : "", id ? id : "");
  }
  return ids;
}

static const char *encoded(const char *text) {
  char *encoded = calloc(strlen(text) + 1, 3), *end = encoded;
  for (; *text; ++text) {
    const bool is_plain = isalnum((unsigned char)*text) || strchr("-._~", *text);
    end += sprintf(end, is_plain ? "%c" : "%%%02X", (unsigned char)*text);
  }
  return encoded;
}

const char *page(const char *base, const char *path, const struct pair *query) {
  size_t end = strlen(base);
  while (end > 0 && base[end - 1] == '/') --end;
  const char *address = format("%.*s%s", (int)end, base, path);
  char before = '?';
  for (const struct pair *it = query; it && it->name; ++it) {
    if (!it->value) continue;
    address = format("%s%c%s=%s", address, before, encoded(it->name), encoded(it->value));
    before = '&';
  }
  return address;
}

static connector_list_tuple2_string_string_t list(const struct pair *pairs) {
  size_t count = 0;
  while (pairs && pairs[count].name) ++count;
  connector_list_tuple2_string_string_t list = {calloc(count + 1, sizeof *list.ptr), 0};
  for (size_t n = 0; n < count; ++n) {
    if (!pairs[n].value) continue;
    list.ptr[list.len++] =
        (connector_tuple2_string_string_t){string(pairs[n].name), string(pairs[n].value)};
  }
  return list;
}

static const char *header(const jackfield_connector_http_response_t *response, const char *name) {
  for (size_t n = 0; n < response->headers.len; ++n) {
    const connector_tuple2_string_string_t *header = &response->headers.ptr[n];
    if (strcmp(chars(header->f0), name) == 0) return chars(header->f1);
  }
  return NULL;
}

static bool is_time(const char *header, time_t *time) {
  struct tm parts = {};
  if (!header || !strptime(header, "%a, %d %b %Y %H:%M:%S", &parts)) return false;
  *time = timegm(&parts);
  return true;
}

// Returns the wait that the header `Retry-After` requests. The header is a number of seconds or a time. A
// time is compared with the time of the answer, because the clocks of the tracker and of this machine may
// differ.
static connector_option_u32_t seconds_until(const char *wait, const char *answered) {
  char *end = NULL;
  const unsigned long seconds = wait ? strtoul(wait, &end, 10) : 0;
  if (end && end != wait && !*trimmed(end)) return (connector_option_u32_t){true, (uint32_t)seconds};
  time_t until, now;
  if (!is_time(wait, &until) || !is_time(answered, &now)) return (connector_option_u32_t){};
  return (connector_option_u32_t){true, until > now ? (uint32_t)(until - now) : 0};
}

static const char *joined(const char *words, const char *more) {
  return more ? format("%s%s%s", words, *words ? "; " : "", more) : words;
}

// Returns the number of bytes of a text that an error quotes. A character is quoted as a whole.
static int plain_bytes(const char *text) {
  size_t end = strnlen(text, PLAIN_BYTES_MAX);
  while (end && ((unsigned char)text[end] & 0xC0) == 0x80) end--;
  return (int)end;
}

// Returns the tracker's reasons for a refusal. They are a text, a list of texts or an object of
// texts. If the answer is plain text, the beginning of this text is the reason.
static const char *reasons_of(yyjson_val *answer, const char *plain) {
  if (!answer) return *plain == '<' ? "" : format("%.*s", plain_bytes(plain), plain);
  yyjson_val *found = yyjson_ptr_get(answer, TRACKER.reasons), *name, *word;
  if (yyjson_is_str(found)) return yyjson_get_str(found);
  const char *words = "";
  size_t n, count;
  yyjson_arr_foreach(found, n, count, word) words = joined(words, yyjson_get_str(word));
  yyjson_obj_foreach(found, n, count, name, word) words = joined(words, yyjson_get_str(word));
  return words;
}

// Makes the error for an answer that refuses a request. For 401, 403 and 404, it says what to check.
static void refuse(
    const jackfield_connector_http_response_t *response, bool is_page, const char *answered) {
  const uint16_t status = response->status;
  const char *location = header(response, "location");
  if (status == 401) {
    fail(UNAUTHORIZED, TRACKER.secret, "%s. Are the credentials right?", answered);
  } else if (status == 403) {
    const char *question = "Does the user of the credentials have the right to do this?";
    fail(UNAUTHORIZED, NULL, "%s. %s", answered, question);
  } else if (status == 404) {
    const char *why = "It does not exist, or the user of the credentials cannot see it";
    const char *question = is_page ? format("; is this the address of %s?", TRACKER.name) : "";
    is_404 = true;
    fail(REJECTED, is_page ? TRACKER.address : NULL, "%s. %s%s", answered, why, question);
  } else if (status == 429) {
    fail(RATE_LIMITED, NULL, "%s", answered);
    first_error.retry_after_seconds =
        seconds_until(header(response, "retry-after"), header(response, "date"));
  } else if (status < 400 && location) {
    fail(REJECTED, TRACKER.address, "%s and redirects to %s", answered, location);
  } else {
    fail(status < 500 ? REJECTED : UNAVAILABLE, NULL, "%s", answered);
  }
}

static bool send(const struct request *from, jackfield_connector_http_response_t *response) {
  jackfield_connector_http_request_t request = {
      .method = from->method,
      .url = string(from->path),
      .query = list(from->query),
      .headers = list(from->headers),
  };
  if (from->effect) request.effect.is_some = true, request.effect.val = *from->effect;
  if (from->body) request.body.is_some = true, request.body.val = *from->body;
  if (from->json) {
    request.body.is_some = true;
    request.body.val.tag = JACKFIELD_CONNECTOR_HTTP_BODY_JSON;
    request.body.val.val.json = string(yyjson_mut_write(from->json, 0, NULL));
  }
  jackfield_connector_http_http_error_t error;
  if (jackfield_connector_http_send(&request, response, &error)) return true;
  const bool is_down = error.tag == JACKFIELD_CONNECTOR_HTTP_HTTP_ERROR_UNREACHABLE ||
                       error.tag == JACKFIELD_CONNECTOR_HTTP_HTTP_ERROR_INTERRUPTED;
  fail(is_down ? UNAVAILABLE : INTERNAL, NULL, "%s", chars(error.val.denied));
  return false;
}

yyjson_val *request(struct request request) {
  jackfield_connector_http_response_t response;
  if (has_error || !send(&request, &response)) return NULL;
  const char *plain = response.text.is_some ? trimmed(chars(response.text.val)) : "";
  yyjson_val *answer = parsed(plain);
  const char *answered = format("%s answered %d to %s", TRACKER.name, response.status, request.path);
  if (response.status >= 200 && response.status < 300) {
    if (!answer && *plain) {
      const char *question = format("is this the address of %s?", TRACKER.name);
      fail(UNAVAILABLE, TRACKER.address, "%s, but not with JSON; %s", answered, question);
    }
    return answer;
  }
  const char *words = reasons_of(answer, plain);
  if (*words) answered = format("%s: %s", answered, words);
  refuse(&response, *plain == '<', answered);
  return NULL;
}

yyjson_val *get(const char *path, const char *wanted, const struct pair *query) {
  return part(request((struct request){.path = path, .query = query}), wanted);
}

yyjson_val *post(const char *path, const char *wanted, yyjson_mut_doc *json) {
  const struct request write = {
      .method = JACKFIELD_CONNECTOR_HTTP_METHOD_POST, .path = path, .json = json};
  return part(request(write), wanted);
}

// Used if the connector does not define this function, because it lists no values of its settings.
[[gnu::weak]]
bool exports_jackfield_connector_plugin_choices(connector_string_t *setting, connector_string_t *,
    exports_jackfield_connector_plugin_choices_page_t *, error_t *error) {
  fail(UNSUPPORTED, NULL, "%s has no list of values", chars(*setting));
  return finish(error);
}
