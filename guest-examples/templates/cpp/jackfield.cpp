// Implements the functions that jackfield.hpp describes.
#include "jackfield.hpp"

#include <ctime>

namespace kit {
namespace {

constexpr std::string_view NOT_FOUND =
    ". It does not exist, or the user of the credentials cannot see it";
constexpr size_t PLAIN_BYTES_MAX = 300;

std::string operator+(std::string left, std::string_view right) { return left.append(right); }

std::string lower(std::string_view from) {
  std::string lower(from);
  for (char& it : lower) it = static_cast<char>(std::tolower(static_cast<unsigned char>(it)));
  return lower;
}

std::string_view trimmed(std::string_view from) {
  const char* spaces = " \t\r\n";
  const size_t start = from.find_first_not_of(spaces);
  return start == from.npos ? "" : from.substr(start, from.find_last_not_of(spaces) + 1 - start);
}

const json* at(const json& answer, std::string_view path) {
  const json::json_pointer pointer{std::string(path)};
  return answer.contains(pointer) && !answer[pointer].is_null() ? &answer[pointer] : nullptr;
}

wit::vector<std::tuple<wit::string, wit::string>> pairs(const Pairs& from) {
  std::vector<std::tuple<wit::string, wit::string>> pairs;
  for (const auto& [name, value] : from) pairs.emplace_back(text(name), text(value));
  return list(std::move(pairs));
}

std::string_view header(const http::Response& response, std::string_view name) {
  for (const auto& [key, value] : response.headers.get_const_view()) {
    if (key.get_view() == name) return value.get_view();
  }
  return {};
}

std::optional<time_t> time_of(std::string_view header) {
  std::tm time{};
  if (!strptime(std::string(header).c_str(), "%a, %d %b %Y %H:%M:%S", &time)) return {};
  return timegm(&time);
}

// Returns the wait that the header `Retry-After` requests. The header is a number of seconds or a time. A
// time is compared with the time of the answer, because the clocks of the tracker and of this machine may
// differ.
std::optional<uint32_t> seconds_until(std::string_view wait, std::string_view answered) {
  const std::string number(trimmed(wait));
  if (!number.empty() && number.find_first_not_of("0123456789") == number.npos) {
    return static_cast<uint32_t>(std::strtoul(number.c_str(), nullptr, 10));
  }
  const auto until = time_of(wait), now = time_of(answered);
  if (!until || !now) return {};
  return static_cast<uint32_t>(std::max<time_t>(0, *until - *now));
}

// Returns the tracker's reasons for a refusal. They are a text or a list of texts. If the answer is
// plain text, the beginning of this text is the reason.
std::string reasons_of(const json& answer, std::string_view plain, std::string_view path) {
  if (answer.is_discarded()) {
    size_t end = std::min<size_t>(plain.size(), PLAIN_BYTES_MAX);
    // A character of several bytes is not cut.
    while (end && end < plain.size() && (plain[end] & 0xC0) == 0x80) end--;
    return plain.starts_with('<') ? "" : std::string(plain.substr(0, end));
  }
  const json* found = at(answer, path);
  if (!found) return {};
  std::string words;
  for (const json& word : found->is_array() ? *found : json::array({*found})) {
    if (!word.is_string()) continue;
    words = words + (words.empty() ? "" : "; ") + word.get_ref<const std::string&>();
  }
  return words;
}

// Makes the error for an answer that refuses a request. For 401, 403 and 404, it says what to check.
Error refused(const Tracker& tracker, const http::Response& response, const std::string& answered) {
  const auto status = response.status;
  const auto error = [](ErrorCode code, std::string_view message, std::string_view setting = {}) {
    return fail(code, message, setting).error();
  };
  if (status == 401) {
    return error(ErrorCode::kUnauthorized, answered + ". Are the credentials right?", tracker.secret);
  }
  if (status == 403) {
    return error(ErrorCode::kUnauthorized,
                 answered + ". Does the user of the credentials have the right to do this?");
  }
  if (status == 404) {
    const std::string why = answered + NOT_FOUND;
    if (!response.text || !trimmed(response.text->get_view()).starts_with('<')) {
      return error(ErrorCode::kRejected, why);
    }
    return error(ErrorCode::kRejected, why + "; is this the address of " + tracker.name + "?",
                 tracker.address);
  }
  if (status == 429) {
    Error limited = error(ErrorCode::kRateLimited, answered);
    limited.retry_after_seconds =
        seconds_until(header(response, "retry-after"), header(response, "date"));
    return limited;
  }
  if (const auto location = header(response, "location"); status < 400 && !location.empty()) {
    return error(ErrorCode::kRejected, answered + " and redirects to " + location, tracker.address);
  }
  return error(status < 500 ? ErrorCode::kRejected : ErrorCode::kUnavailable, answered);
}

Result<http::Response> exchange(http::Request request) {
  auto sent = http::Send(std::move(request));
  if (sent) return std::move(*sent);
  const auto& why = sent.error().variants;
  const bool is_down = std::holds_alternative<http::HttpError::Unreachable>(why) ||
                       std::holds_alternative<http::HttpError::Interrupted>(why);
  const auto words = std::visit([](const auto& it) { return it.value.get_view(); }, why);
  return fail(is_down ? ErrorCode::kUnavailable : ErrorCode::kInternal, words);
}

}  // namespace

std::unexpected<Error> fail(ErrorCode code, std::string_view message, std::string_view setting) {
  Error error{.code = code, .message = text(message), .setting = {}, .retry_after_seconds = {}};
  if (!setting.empty()) error.setting = text(setting);
  return std::unexpected(std::move(error));
}

bool is_not_found(const Error& error) {
  return error.code == ErrorCode::kRejected && error.message.get_view().contains(NOT_FOUND);
}

json settings(std::string_view schema) {
  json settings = json::object();
  const json described = json::parse(schema);
  for (const auto& [name, setting] : described["properties"].items()) {
    if (setting.contains("default")) settings[name] = setting["default"];
  }
  settings.update(json::parse(jackfield::connector::settings::All().get_view()));
  return settings;
}

template <>
Result<json> part<json>(const json& answer, std::string_view path) {
  if (const json* found = at(answer, path)) return *found;
  const auto why = "the tracker's answer has no " + std::string(path) + "; is the address right?";
  return fail(ErrorCode::kUnavailable, why);
}

template <>
Result<std::string> part<std::string>(const json& answer, std::string_view path) {
  const json found = TRY(part(answer, path));
  return found.is_string() ? found.get<std::string>() : found.dump();
}

template <>
Result<uint32_t> part<uint32_t>(const json& answer, std::string_view path) {
  const json found = TRY(part(answer, path));
  const bool fits = found.is_number_unsigned() && found.get<uint64_t>() <= UINT32_MAX;
  if (fits) return found.get<uint32_t>();
  return fail(ErrorCode::kUnavailable,
              std::string(path) + " of the answer is not a whole number from 0 to 4294967295");
}

std::optional<wit::string> text_at(const json& answer, std::string_view path) {
  const json* found = at(answer, path);
  if (!found || !found->is_string()) return {};
  return text(found->get_ref<const std::string&>());
}

Result<std::string> ids_of(const json& records, const json& names, std::string_view setting,
                           std::string_view separator) {
  std::string ids;
  for (const json& name : names) {
    const std::string wanted = name;
    std::string known;
    std::optional<std::string> id;
    for (const json& record : records) {
      const std::string called = TRY(part<std::string>(record, "/name"));
      if (lower(called) == lower(trimmed(wanted))) id = TRY(part<std::string>(record, "/id"));
      known = known + (known.empty() ? "" : ", ") + called;
    }
    if (!id) {
      const std::string why = "\"" + wanted + "\" does not exist; there is: " + known;
      return fail(ErrorCode::kRejected, why, setting);
    }
    ids = ids + (ids.empty() ? "" : separator) + *id;
  }
  return ids;
}

std::string percent_encoded(std::string_view from) {
  std::string encoded;
  for (const unsigned char it : from) {
    char code[4];
    std::snprintf(code, sizeof code, "%%%02X", it);
    const bool is_plain = std::isalnum(it) || std::string_view("-._~").contains(static_cast<char>(it));
    encoded += is_plain ? std::string(1, static_cast<char>(it)) : code;
  }
  return encoded;
}

std::string page(std::string base, std::string_view path, const Pairs& query) {
  while (base.ends_with('/')) base.pop_back();
  base.append(path);
  char before = '?';
  for (const auto& [name, value] : query) {
    base += before + percent_encoded(name) + '=' + percent_encoded(value);
    before = '&';
  }
  return base;
}

Result<json> Tracker::request(http::Method method, std::string_view path, More more) const {
  if (more.body) more.other = http::Body{http::Body::Json{text(more.body->dump())}};
  const http::Response response = TRY(exchange({
      .method = method,
      .effect = more.effect,
      .base = {},
      .url = text(path),
      .query = pairs(more.query),
      .headers = pairs(more.headers),
      .body = std::move(more.other),
  }));
  const auto plain = trimmed(response.text ? response.text->get_view() : "");
  json answer = plain.empty() ? json() : json::parse(plain, nullptr, false);
  const std::string answered =
      std::string(name) + " answered " + std::to_string(response.status) + " to " + path;
  if (response.status >= 200 && response.status < 300) {
    if (!answer.is_discarded()) return answer;
    const auto why = answered + ", but not with JSON; is this the address of " + name + "?";
    return fail(ErrorCode::kUnavailable, why, address);
  }
  const std::string words = reasons_of(answer, plain, this->reasons);
  return std::unexpected(
      refused(*this, response, words.empty() ? answered : answered + ": " + words));
}

}  // namespace kit
