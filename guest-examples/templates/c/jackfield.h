// A library for connectors in C. Its functions read the settings with their defaults, send
// requests, read JSON answers, and create the errors that a call returns.
//
// The first error of a call is the result of the call, and `fail` stores it. After an error, no
// request is sent: `request`, `get` and `post` return NULL. The functions that read a part of an
// answer accept NULL, and then return NULL or an empty text. So a connector need not check for
// errors after each step. Each exported function that returns a `bool` ends with
// `return finish(error);`.
//
// A connector need not free memory, because all memory is freed at the end of the call. The bindings free
// the texts that an exported function returns, so make these texts with `string` and `option`.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "connector.h"
#include "yyjson.h"

typedef jackfield_connector_model_error_t error_t;
typedef jackfield_connector_model_defect_t defect_t;

// Short names of the contract's error codes.
enum {
  REJECTED = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_REJECTED,
  UNAUTHORIZED = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_UNAUTHORIZED,
  UNAVAILABLE = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_UNAVAILABLE,
  RATE_LIMITED = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_RATE_LIMITED,
  UNSUPPORTED = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_UNSUPPORTED,
  INTERNAL = JACKFIELD_CONNECTOR_MODEL_ERROR_CODE_INTERNAL,
};

// A parameter of a query, or a header. A pair whose value is NULL is left out. A list ends with an empty
// pair.
struct pair {
  const char *name, *value;
};
#define PAIRS(...) ((const struct pair[]){__VA_ARGS__, {}})

// What this library needs to know about the tracker to create errors. The connector defines
// `TRACKER`.
struct tracker {
  const char *name;     // the name of the tracker
  const char *address;  // the name of the setting that contains the tracker's address
  const char *secret;   // the name of the setting that contains the credentials
  const char *reasons;  // the JSON pointer of the reasons in a refusal, such as "/errors"
};
extern const struct tracker TRACKER;

// The text of `settings.schema.json`.
extern const char SCHEMA[];

// Returns the value of a setting. If it has none, returns the default of the schema, which the host does
// not add.
yyjson_val *setting(const char *name);
const char *setting_text(const char *name);

// A request to the tracker. The path is relative to the tracker's address, and percent-encoded.
struct request {
  jackfield_connector_http_method_t method;
  const char *path;
  const struct pair *query, *headers;
  yyjson_mut_doc *json;                       // a JSON body,
  jackfield_connector_http_body_t *body;      // or any other body of the contract
  jackfield_connector_http_effect_t *effect;  // needed if the effect does not follow from the method
};

// Sends a request, and returns the JSON answer. An answer with another status than 2xx is an error. For an
// answer without a body, returns NULL.
yyjson_val *request(struct request request);
// Sends a GET request, and returns the part `wanted` of its answer.
yyjson_val *get(const char *path, const char *wanted, const struct pair *query);
// Sends a POST request, which is a write, and returns the part `wanted` of its answer.
yyjson_val *post(const char *path, const char *wanted, yyjson_mut_doc *json);

// Creates a JSON document whose root is an empty object.
yyjson_mut_doc *object(void);

// Returns the part of an answer at a path such as "/user/login". A missing part is an error, because the
// answer is not that of the expected tracker then.
yyjson_val *part(yyjson_val *answer, const char *path);
// Each of these functions returns the text, or the number as a text, at this path. If it is missing, the
// first function stores an error and returns an empty text, and the second one returns NULL.
const char *needed(yyjson_val *answer, const char *path);
const char *text(yyjson_val *answer, const char *path);

// Returns the ids of the records that a setting names, with `separator` between them. An unknown name is an
// error. Otherwise a count would be zero, and no person would notice.
const char *ids_of(yyjson_val *records, const char *setting, const char *separator);

// Returns the address of a page for people. `base` is the tracker's address in the settings.
const char *page(const char *base, const char *path, const struct pair *query);

// Stores an error of the contract if it is the first one of the call. The message says what to change. The
// setting may be NULL.
[[gnu::format(printf, 3, 4)]]
void fail(jackfield_connector_model_error_code_t code, const char *setting, const char *message, ...);
void fail_with(error_t error);
// Returns whether the call has no error. If it has one, copies the error to `error`.
bool finish(error_t *error);
// Returns whether the first error is a 404 of the tracker. If so, removes the error.
bool was_not_found(void);

// Returns the text that `printf` would print.
[[gnu::format(printf, 1, 2)]]
const char *format(const char *format, ...);
// Convert a text of C to a text of the contract, and back.
connector_string_t string(const char *text);
connector_option_string_t option(const char *text);
const char *chars(connector_string_t string);
