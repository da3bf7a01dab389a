// A library for connectors in C++. Its functions read the settings with their defaults, send requests, read
// JSON answers, and create the errors that a call returns.
//
// C++ exceptions are switched off, because the host does not support them. A function that can fail
// returns a `Result`, and `TRY` returns the error of a `Result` to the caller.
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

// A wrong use of JSON ends the call. The event shows the message that is printed here.
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

// Evaluates to the value of a `Result`. If the `Result` is an error, the function that contains `TRY` returns
// this error.
#define TRY(expression)                                                   \
  ({                                                                      \
    auto tried = (expression);                                            \
    if (!tried) return std::unexpected(std::move(tried.error()));         \
    std::move(*tried);                                                    \
  })

// Converts a text to a text of the contract.
inline wit::string text(std::string_view from) { return wit::string::from_view(from); }

// Converts a list to a list of the contract. Use this function instead of the list type of the bindings, whose
// items are uninitialised at first.
template <class T>
wit::vector<T> list(std::vector<T> from) {
  auto list = wit::vector<T>::allocate(from.size());
  for (size_t n = 0; n < from.size(); ++n) list.initialize(n, std::move(from[n]));
  return list;
}

// Makes an error of the contract. The message says what to change. The setting may be empty.
std::unexpected<Error> fail(ErrorCode code, std::string_view message, std::string_view setting = {});

// Whether the tracker answered with the status 404.
bool is_not_found(const Error& error);

// Returns the connection's settings, with the defaults of the schema. The host does not add these defaults.
json settings(std::string_view schema);

// Returns the part of an answer at a path such as "/user/login". `T` is `json`, `std::string` (also for a
// number) or `uint32_t`. A missing part is an error, because the answer is not that of the expected tracker
// then.
template <class T = json>
Result<T> part(const json& answer, std::string_view path);

// Returns the text at this path. If there is no text, returns no value.
std::optional<wit::string> text_at(const json& answer, std::string_view path);

// Returns the ids of the records that a setting names, with `separator` between them. An unknown name is an
// error. Otherwise a count would be zero, and no person would notice.
Result<std::string> ids_of(const json& records, const json& names, std::string_view setting,
                           std::string_view separator);

// Parameters of a query, or headers.
using Pairs = std::vector<std::pair<std::string, std::string>>;

// Returns the address of a page for people. `base` is the tracker's address in the settings.
std::string page(std::string base, std::string_view path, const Pairs& query = {});

// Encodes a text, so that it can be one segment of a path or one value of a query.
std::string percent_encoded(std::string_view from);

// The optional parts of a request.
struct More {
  Pairs query = {};
  Pairs headers = {};
  std::optional<json> body = {};          // a JSON body,
  std::optional<http::Body> other = {};   // or any other body of the contract
  std::optional<http::Effect> effect = {};  // needed if the effect does not follow from the method
};

// A tracker with a JSON API, and the names that error messages contain. The paths of requests are relative
// to the tracker's address, and percent-encoded.
struct Tracker {
  std::string_view name;     // the name of the tracker
  std::string_view address;  // the name of the setting that contains the tracker's address
  std::string_view secret;   // the name of the setting that contains the credentials
  std::string_view reasons;  // the JSON pointer of the reasons in a refusal, such as "/errors"

  // Sends a request, and returns the JSON answer. An answer with another status than 2xx is an error. For an
  // answer without a body, returns null.
  Result<json> request(http::Method method, std::string_view path, More more = {}) const;

  // Sends a GET request, and returns the part `wanted` of its answer.
  template <class T = json>
  Result<T> get(std::string_view path, std::string_view wanted, Pairs query = {}) const {
    return part<T>(TRY(request(http::Method::kGet, path, {.query = std::move(query)})), wanted);
  }

  // Sends a POST request, which is a write, and returns the part `wanted` of its answer.
  template <class T = json>
  Result<T> post(std::string_view path, std::string_view wanted, json body) const {
    return part<T>(TRY(request(http::Method::kPost, path, {.body = std::move(body)})), wanted);
  }
};

}  // namespace kit
