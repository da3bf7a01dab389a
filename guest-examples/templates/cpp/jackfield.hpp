// What every connector in C++ needs: settings with their defaults, requests with JSON answers, and errors
// that say what to do.
//
// C++ exceptions are switched off, because the host does not support them. A function that can fail
// returns a `Result`, and `TRY` hands a failure on.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// A mistake in the use of JSON ends the call; the event shows these words.
#define JSON_THROW_USER(exception) (std::fprintf(stderr, "%s\n", (exception).what()), std::abort())
#define JSON_TRY_USER if (true)
#define JSON_CATCH_USER(exception) if (false)
#define JSON_INTERNAL_CATCH_USER(exception) if (false)
#include <nlohmann/json.hpp>

#include "connector_cpp.h"

namespace kit {

using nlohmann::json;
using jackfield::connector::model::Counts;
using jackfield::connector::model::Defect;
using jackfield::connector::model::Error;
using jackfield::connector::model::ErrorCode;
using jackfield::connector::model::FailedTest;
namespace http = jackfield::connector::http;

template <class T>
using Result = std::expected<T, Error>;

// The value of a `Result`. If it is an error, the function returns it.
#define TRY(expression)                                                   \
  ({                                                                      \
    auto tried = (expression);                                            \
    if (!tried) return std::unexpected(std::move(tried.error()));         \
    std::move(*tried);                                                    \
  })

// A text of the contract.
inline wit::string text(std::string_view from) { return wit::string::from_view(from); }

// A list of the contract. (The bindings' own list is uninitialised at first, and must not be left so.)
template <class T>
wit::vector<T> list(std::vector<T> from) {
  auto list = wit::vector<T>::allocate(from.size());
  for (size_t n = 0; n < from.size(); ++n) list.initialize(n, std::move(from[n]));
  return list;
}

// An error of the contract. The message says what to change; the setting may be empty.
std::unexpected<Error> fail(ErrorCode code, std::string_view message, std::string_view setting = {});

// Whether the tracker answered 404.
bool is_not_found(const Error& error);

// The connection's settings, with the defaults of the schema, which the host does not fill in.
json settings(std::string_view schema);

// The part of an answer at a path such as "/user/login": `json`, a `std::string` (also from a number) or
// a number. Without it, the answer is not the tracker's.
template <class T = json>
Result<T> part(const json& answer, std::string_view path);

// The text at this path, if there is one.
std::optional<wit::string> text_at(const json& answer, std::string_view path);

// The ids of the records that a setting names, separated. An unknown name is an error: if it were
// ignored, a count would be zero, without an error.
Result<std::string> ids_of(const json& records, const json& names, std::string_view setting,
                           std::string_view separator);

// Parameters of a query, or headers.
using Pairs = std::vector<std::pair<std::string, std::string>>;

// The address of a page that people open. `base` is the tracker's address in the settings.
std::string page(std::string base, std::string_view path, const Pairs& query = {});

// A text as one part of a path or of a query.
std::string percent_encoded(std::string_view from);

// What a request may have beyond its method and path.
struct More {
  Pairs query = {};
  Pairs headers = {};
  std::optional<json> body = {};          // JSON,
  std::optional<http::Body> other = {};   // or any other body of the contract
  std::optional<http::Effect> effect = {};  // if it does not follow from the method
};

// A tracker with a JSON API, and what error messages call it. Paths are below the address of the
// setting, and percent-encoded.
struct Tracker {
  std::string_view name;     // the tracker's name
  std::string_view address;  // the setting with its address
  std::string_view secret;   // the setting with the credentials
  std::string_view words;    // where a refusal explains itself: "/errors", "/error/msg"

  // Sends a request. Every answer without success is an error; an answer without a body is null.
  Result<json> request(http::Method method, std::string_view path, More more = {}) const;

  // The part of an answer.
  template <class T = json>
  Result<T> get(std::string_view path, std::string_view wanted, Pairs query = {}) const {
    return part<T>(TRY(request(http::Method::kGet, path, {.query = std::move(query)})), wanted);
  }

  // A write; returns a part of its answer.
  template <class T = json>
  Result<T> post(std::string_view path, std::string_view wanted, json body) const {
    return part<T>(TRY(request(http::Method::kPost, path, {.body = std::move(body)})), wanted);
  }
};

}  // namespace kit
