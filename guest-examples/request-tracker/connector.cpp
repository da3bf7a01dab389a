// A connector for Request Tracker 5, with the API REST 2.
//
// Request Tracker differs from other trackers in these points. The search does not find the content of tickets, so
// the marker is in the subject or in a custom field. The answers for an unknown queue and for a missing right are
// the same. An unknown custom field is ignored. If the lifecycle does not allow a change of the status, the answer
// nevertheless has the status 200.
#include "jackfield.hpp"

using namespace kit;
namespace report = jackfield::connector::report;
using exports::jackfield::connector::follow_up::Current;
using exports::jackfield::connector::plugin::ChoicesPage;
using exports::jackfield::connector::plugin::Manifest;

constexpr char SCHEMA[] = {
#embed "settings.schema.json"
    , 0};
constexpr Tracker RT{
    .name = "Request Tracker", .address = "url", .secret = "token", .reasons = "/message"};
constexpr std::string_view API = "/REST/2.0";
constexpr uint32_t SUBJECT_CHARS_MAX = 200;
constexpr uint32_t CONTENT_CHARS_MAX = 64'000;
// The members of a ticket that the connection may set as fields of the report, in addition to custom fields.
constexpr std::string_view MEMBERS[] = {"Owner", "Requestor", "Cc", "AdminCc", "Priority", "Due", "Starts"};

// Returns a setting that is a text or a number. If it has no value, returns an empty text.
static std::string setting(const char* name) {
  const json given = settings(SCHEMA);
  if (!given.contains(name)) return {};
  return given[name].is_string() ? given[name].get<std::string>() : given[name].dump();
}

static std::string api(std::string_view path) { return std::string(API).append(path); }

static std::string ticket_path(std::string_view key) { return api("/ticket/") + percent_encoded(key); }

// Quotes a text for a query of the search.
static std::string sql(std::string_view from) {
  std::string sql = "'";
  for (const char it : from) {
    if (it == '\'' || it == '\\') sql += '\\';
    sql += it;
  }
  return sql + "'";
}

// Escapes a text for HTML.
static std::string escaped(std::string_view from) {
  std::string escaped;
  for (const char it : from) escaped += it == '<' ? "&lt;" : it == '&' ? "&amp;" : std::string(1, it);
  return escaped;
}

static std::string base64(std::span<const uint8_t> bytes) {
  constexpr char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t n = 0; n < bytes.size(); n += 3) {
    const auto at = [&](size_t m) { return m < bytes.size() ? bytes[m] : 0u; };
    const uint32_t group = at(n) << 16 | at(n + 1) << 8 | at(n + 2);
    for (int digit = 0; digit < 4; ++digit) text += DIGITS[group >> (18 - 6 * digit) & 63];
  }
  const size_t missing = (3 - bytes.size() % 3) % 3;
  return text.replace(text.size() - missing, missing, missing, '=');
}

static std::string scope() { return "Queue = " + sql(setting("queue")); }
static std::string active() { return scope() + " AND Status = '__Active__'"; }

// Returns the custom fields of the queue. Also used to check that the queue exists, because a search in a queue
// that does not exist finds nothing, without an error.
static Result<json> custom_fields() {
  auto found = RT.get(api("/queue/") + percent_encoded(setting("queue")), "/TicketCustomFields");
  if (found || !is_not_found(found.error())) return found;
  return fail(ErrorCode::kRejected, found.error().message.get_view(), "queue");
}

static Result<uint32_t> total(const std::string& query) {
  return RT.get<uint32_t>(api("/tickets"), "/total", {{"query", query}, {"per_page", "1"}});
}

static Result<Defect> defect(const json& ticket) {
  const std::string id = TRY(part<std::string>(ticket, "/id"));
  return Defect{
      .key = text(id),
      .title = text(TRY(part<std::string>(ticket, "/Subject"))),
      .link = text(page(setting("url"), "/Ticket/Display.html", {{"id", id}})),
      .status = text_at(ticket, "/Status"),
      .priority = text_at(ticket, "/Priority"),
      .description = {},
  };
}

// Sets the fields of the report. Returns a line of HTML for each field that the queue does not have.
static Result<std::string> set_fields(json& ticket) {
  std::string notes;
  const auto fields = report::Fields();
  if (fields.empty()) return notes;
  const json known = TRY(custom_fields());
  for (const auto& [name, value] : fields.get_const_view()) {
    const std::string called = name.to_string();
    const auto* json_value = std::get_if<report::FieldValue::Json>(&value.variants);
    const json given = json_value ? json::parse(json_value->value.get_view())
                                  : json(std::get<report::FieldValue::Text>(value.variants).value.get_view());
    const auto is_called = [&](const json& field) { return field.value("name", "") == called; };
    if (std::any_of(known.begin(), known.end(), is_called)) {
      ticket["CustomFields"][called] = given;
    } else if (std::find(std::begin(MEMBERS), std::end(MEMBERS), called) != std::end(MEMBERS)) {
      ticket[called] = given;
    } else {
      notes += "<p>Not set: there is no field \"" + escaped(called) + "\"</p>";
    }
  }
  return notes;
}

// Requests all pages of a list, and returns the items of all pages.
static Result<json> all(const std::string& path, const std::string& fields) {
  json items = json::array();
  for (int page = 1;; ++page) {
    const json answer = TRY(RT.get(path, "",
        {{"fields", fields}, {"per_page", "100"}, {"page", std::to_string(page)}}));
    for (const json& item : TRY(part(answer, "/items"))) items.push_back(item);
    if (items.size() >= TRY(part<uint32_t>(answer, "/total"))) return items;
    if (TRY(part<uint32_t>(answer, "/count")) == 0) {
      return fail(ErrorCode::kUnavailable, "Request Tracker's list at " + path + " is not complete");
    }
  }
}

Manifest exports::jackfield::connector::plugin::Describe() {
  return {
      .name = text("Request Tracker"),
      .version = text("0.1.0"),
      .summary = text("Creates, finds and counts tickets of Request Tracker 5, and comments on them."),
      .homepage = text("https://docs.bestpractical.com/rt/5.0.3/RT/REST2.html"),
      .settings = text(SCHEMA),
      .index_delay_seconds = 0,  // The search reads the database directly.
  };
}

Result<wit::string> exports::jackfield::connector::plugin::Check() {
  const std::string version = TRY(RT.get<std::string>(api("/rt"), "/Version"));
  const Counts counts = TRY(kpis::Count(text("")));
  const std::string field = setting("marker-field");
  const json known = TRY(custom_fields());
  const auto is_called = [&](const json& it) { return it.value("name", "") == field; };
  if (!field.empty() && std::none_of(known.begin(), known.end(), is_called)) {
    return fail(ErrorCode::kRejected, "the queue has no custom field \"" + field + "\"", "marker-field");
  }
  return text("Request Tracker " + version + ", queue " + setting("queue") + ", " +
              std::to_string(counts.open) + " open tickets");
}

Result<ChoicesPage> exports::jackfield::connector::plugin::Choices(wit::string setting, wit::string) {
  return fail(ErrorCode::kUnsupported, setting.to_string() + " has no list of values");
}

Result<Defect> exports::jackfield::connector::defects::Create(FailedTest, wit::string marker) {
  const std::string field = setting("marker-field"), mark = marker.to_string();
  std::string subject = report::Title(SUBJECT_CHARS_MAX).to_string();
  const auto content = TRY(report::Description("html", CONTENT_CHARS_MAX, marker.get_view()));
  json ticket = {{"Queue", setting("queue")}, {"ContentType", "text/html"}};
  if (const std::string priority = setting("priority"); !priority.empty()) {
    ticket["Priority"] = std::atoi(priority.c_str());
  }
  const std::string notes = TRY(set_fields(ticket));
  if (field.empty()) {
    subject += " [" + mark + "]";
  } else {
    ticket["CustomFields"][field] = mark;
  }
  ticket["Subject"] = subject;
  ticket["Content"] = content.to_string() + notes;
  const json created = TRY(RT.post(api("/ticket"), "", ticket));
  // The answer contains only the number.
  return defect({{"id", TRY(part<std::string>(created, "/id"))}, {"Subject", subject}});
}

Result<wit::vector<Defect>> exports::jackfield::connector::defects::Find(wit::string marker) {
  const std::string field = setting("marker-field"), mark = sql(marker.get_view());
  const std::string query = field.empty() ? "Subject LIKE " + mark : "'CF.{" + field + "}' = " + mark;
  const json tickets = TRY(RT.get(api("/tickets"), "/items",
      {{"query", query}, {"orderby", "id"}, {"fields", "Subject,Status,Priority,CustomFields"}}));
  if (tickets.empty()) TRY(custom_fields());  // The list is also empty if the token is wrong. Then this request fails.
  std::vector<Defect> found;
  for (const json& ticket : tickets) {
    if (!ticket.dump().contains(marker.get_view())) {
      return fail(ErrorCode::kUnavailable, "Request Tracker found a ticket without the marker");
    }
    found.push_back(TRY(defect(ticket)));
  }
  return list(std::move(found));
}

Result<Counts> exports::jackfield::connector::kpis::Count(wit::string) {
  TRY(custom_fields());
  const std::string critical = active() + " AND Priority >= " + setting("critical-from");
  const std::string moderate = active() + " AND Priority >= " + setting("moderate-from") +
                               " AND Priority < " + setting("critical-from");
  return Counts{
      .open = TRY(total(active())),
      .closed = TRY(total(scope() + " AND Status = '__Inactive__'")),
      .critical = TRY(total(critical)),
      .moderate = TRY(total(moderate)),
      .critical_link = text(page(setting("url"), "/Search/Results.html", {{"Query", critical}})),
  };
}

// Whether a ticket is active. Each queue may have its own statuses.
static Result<bool> is_active(const std::string& id) {
  return TRY(total("id = " + id + " AND Status = '__Active__'")) > 0;
}

// If the ticket was merged into another ticket, Request Tracker returns that other ticket.
Result<std::optional<Current>> exports::jackfield::connector::follow_up::State(wit::string key) {
  const auto ticket = RT.get(ticket_path(key.get_view()), "");
  if (!ticket && is_not_found(ticket.error())) {
    TRY(custom_fields());  // Fails if the token is wrong. Otherwise the ticket no longer exists.
    return std::nullopt;
  }
  const json found = TRY(ticket);
  const bool open = TRY(is_active(TRY(part<std::string>(found, "/id"))));
  return Current{.defect = TRY(defect(found)), .open = open};
}

// The marker is in the subject of the comment, because the list of comments does not contain the texts of comments.
Result<void> exports::jackfield::connector::follow_up::Comment(wit::string key, FailedTest, wit::string marker) {
  const auto content = TRY(report::Comment("html", CONTENT_CHARS_MAX, marker.get_view()));
  const json comment = {{"Subject", "Jackfield " + marker.to_string()},
                        {"Content", content.to_string()},
                        {"ContentType", "text/html"}};
  TRY(RT.post(ticket_path(key.get_view()) + "/comment", "", comment));
  return {};
}

Result<bool> exports::jackfield::connector::follow_up::FindComment(wit::string key, wit::string marker) {
  const json texts = TRY(all(ticket_path(key.get_view()) + "/attachments", "Subject"));
  const std::string subject = "Jackfield " + marker.to_string();
  return std::any_of(texts.begin(), texts.end(),
                     [&](const json& it) { return it.value("Subject", "") == subject; });
}

Result<void> exports::jackfield::connector::follow_up::Reopen(wit::string key) {
  const std::string path = ticket_path(key.get_view());
  if (TRY(is_active(TRY(RT.get<std::string>(path, "/id"))))) return {};
  const json change = {{"Status", setting("reopen-status")}};
  const json answer = TRY(RT.request(http::Method::kPut, path, {.body = change}));
  const std::string said = answer.dump();
  if (said.contains("changed from")) return {};
  return fail(ErrorCode::kRejected, "Request Tracker did not open the ticket: " + said, "reopen-status");
}

// Attaches a file by a comment. The JSON of the comment contains the file. A multipart body cannot be used, because
// the bindings of wit-bindgen-cpp 0.60 overwrite the content of each part before they read it.
Result<void> exports::jackfield::connector::follow_up::Attach(wit::string key, uint32_t attachment) {
  for (const auto& file : report::Attachments().get_const_view()) {
    if (file.id != attachment) continue;
    const auto bytes = TRY(report::Read(attachment));
    const json attached = {{"FileName", file.name.get_view()},
                           {"FileType", file.media_type.get_view()},
                           {"FileContent", base64(bytes.get_const_view())}};
    const json comment = {{"Content", "A file of the failed test."},
                          {"ContentType", "text/plain"},
                          {"Attachments", json::array({attached})}};
    TRY(RT.post(ticket_path(key.get_view()) + "/comment", "", comment));
    return {};
  }
  return fail(ErrorCode::kRejected, "the report has no attachment " + std::to_string(attachment));
}

Result<wit::vector<wit::string>> exports::jackfield::connector::follow_up::Attached(wit::string key) {
  std::vector<wit::string> names;
  for (const json& file : TRY(all(ticket_path(key.get_view()) + "/attachments", "Filename"))) {
    const std::string name = file.value("Filename", "");
    if (!name.empty()) names.push_back(text(name));
  }
  return list(std::move(names));
}
