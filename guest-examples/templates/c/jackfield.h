// What every connector in C needs: settings with their defaults, requests with JSON answers, and errors
// that say what to do.
//
// A call ends with its first error. `fail` keeps it; after it, no request is sent, and each function
// here returns an empty value. So a connector checks nothing on its way, and each exported function
// ends with `return finish(error);`.
//
// Nothing is freed: the memory of a call ends with the call. What an exported function returns is freed
// by the bindings, so make texts for it with `string` and `option`.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "connector.h"
#include "yyjson.h"

typedef jackfield_connector_model_error_t error_t;
typedef jackfield_connector_model_defect_t defect_t;

// The kinds of errors.
enum {
  REJECTED = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_REJECTED,
  UNAUTHORIZED = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_UNAUTHORIZED,
  UNAVAILABLE = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_UNAVAILABLE,
  RATE_LIMITED = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_RATE_LIMITED,
  UNSUPPORTED = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_UNSUPPORTED,
  INTERNAL = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_INTERNAL,
};

// A parameter of a query, or a header; left out if its value is NULL. A list ends with an empty pair.
struct pair {
  const char *name, *value;
};
#define PAIRS(...) ((const struct pair[]){__VA_ARGS__, {}})

// The tracker, and what error messages call it. The connector defines it.
struct tracker {
  const char *name;     // the tracker's name
  const char *address;  // the setting with its address
  const char *secret;   // the setting with the credentials
  const char *words;    // where a refusal explains itself: "/errors", "/error/msg"
};
extern const struct tracker TRACKER;

// The text of `settings.schema.json`.
extern const char SCHEMA[];

// A setting, or its default, which the host does not fill in.
yyjson_val *setting(const char *name);
const char *setting_text(const char *name);

// A request to the tracker. Paths are below the address of the setting, and percent-encoded.
struct request {
  jackfield_connector_http_method_t method;
  const char *path;
  const struct pair *query, *headers;
  yyjson_mut_doc *json;                       // the body, as JSON,
  jackfield_connector_http_body_t *body;      // or any other body of the contract
  jackfield_connector_http_effect_t *effect;  // if it does not follow from the method
};

// Sends a request. Every answer without success is an error; an answer without a body is NULL.
yyjson_val *request(struct request request);
// The part of an answer.
yyjson_val *get(const char *path, const char *wanted, const struct pair *query);
// A write; returns a part of its answer.
yyjson_val *post(const char *path, const char *wanted, yyjson_mut_doc *json);

// A JSON text in the making, with an object as its root.
yyjson_mut_doc *object(void);

// The part of an answer at a path such as "/user/login". Without it, the answer is not the tracker's.
yyjson_val *part(yyjson_val *answer, const char *path);
// The text, or the number as a text, at this path; the second function returns NULL without it.
const char *needed(yyjson_val *answer, const char *path);
const char *text(yyjson_val *answer, const char *path);

// The ids of the records that a setting names, separated. An unknown name is an error: if it were
// ignored, a count would be zero, without an error.
const char *ids_of(yyjson_val *records, const char *setting, const char *separator);

// The address of a page that people open. `base` is the tracker's address in the settings.
const char *page(const char *base, const char *path, const struct pair *query);

// Keeps an error of the contract, if it is the first. The message says what to change; the setting may
// be NULL.
[[gnu::format(printf, 3, 4)]]
void fail(jackfield_connector_model_error_code_t code, const char *setting, const char *message, ...);
void fail_with(error_t error);
// Whether the call has no error; otherwise the error is put into `error`.
bool finish(error_t *error);
// Whether the first error is a 404 of the tracker. It is forgotten if it is.
bool was_not_found(void);

// A text like that of `printf`.
[[gnu::format(printf, 1, 2)]]
const char *format(const char *format, ...);
// Texts of C as those of the contract, and back.
connector_string_t string(const char *text);
connector_option_string_t option(const char *text);
const char *chars(connector_string_t string);
