// A connector for ServiceNow. Its records are in the table incident, or in another table that extends task.
//
// These points are important for this connector. The marker is in the field `correlation_id`.
// Counts are requested from the aggregate API. ServiceNow ignores a condition on a field that does
// not exist. An instance that hibernates answers with a page of HTML.
#include "report.h"

const struct tracker TRACKER = {
    .name = "ServiceNow", .address = "url", .secret = "password", .reasons = "/error"};
const char SCHEMA[] = {
#embed "settings.schema.json"
    , 0};

enum { SUMMARY_CHARS_MAX = 160, TEXT_CHARS_MAX = 4000 };
// The fields that are requested. With `sysparm_display_value=all`, the answer contains the value of
// each field and its text for people.
#define FIELDS "sys_id,number,short_description,description,state,priority,correlation_id"
#define ALL {"sysparm_display_value", "all"}, {"sysparm_fields", FIELDS}

static const char *table_path(const char *id) {
  return format("/api/now/table/%s%s%s", setting_text("table"), *id ? "/" : "", id);
}

// Returns the user of the credentials.
static const char *user(void) {
  const struct pair *query = PAIRS({"sysparm_query", "sys_id=javascript:gs.getUserID()"},
      {"sysparm_fields", "user_name"}, {"sysparm_limit", "1"});
  return needed(get("/api/now/table/sys_user", "", query), "/result/0/user_name");
}

// Returns the values of a setting, separated by commas, as a condition needs them.
static const char *values(const char *name) {
  const char *values = "";
  yyjson_val *value;
  size_t n, count;
  yyjson_arr_foreach(setting(name), n, count, value) {
    values = format("%s%s%s", values, *values ? "," : "", yyjson_get_str(value));
  }
  return values;
}

// Returns the query for the open or the closed records that are counted. If `priorities` is NULL, records of all
// priorities are counted.
static const char *conditions(bool is_open, const char *priorities) {
  const char *filter = setting_text("filter");
  const char *conditions = format("state%s%s", is_open ? "NOT IN" : "IN", values("closed-states"));
  if (filter && *filter) conditions = format("%s^%s", filter, conditions);
  return priorities ? format("%s^priorityIN%s", conditions, priorities) : conditions;
}

static uint32_t total(const char *conditions) {
  const struct pair *query = PAIRS({"sysparm_query", conditions}, {"sysparm_count", "true"});
  const char *path = format("/api/now/stats/%s", setting_text("table"));
  const char *total = needed(get(path, "/result", query), "/stats/count");
  return total ? (uint32_t)strtoul(total, NULL, 10) : 0;
}

static defect_t defect(yyjson_val *record) {
  const char *uri = format("%s.do?sys_id=%s", setting_text("table"), needed(record, "/sys_id/value"));
  return (defect_t){
      .key = string(needed(record, "/number/value")),
      .title = string(needed(record, "/short_description/value")),
      .link = string(page(setting_text("url"), "/nav_to.do", PAIRS({"uri", uri}))),
      .status = option(text(record, "/state/display_value")),
      .priority = option(text(record, "/priority/display_value")),
      .description = option(text(record, "/description/value")),
  };
}

// Returns the record with this number. If there is none, returns NULL. ServiceNow ignores a condition with an
// unknown field, so the number of the found record is checked.
static yyjson_val *found(const char *number) {
  const char *condition = format("number=%s", number);
  yyjson_val *list = get(table_path(""), "/result", PAIRS({"sysparm_query", condition},
      {"sysparm_limit", "1"}, ALL));
  if (yyjson_is_arr(list) && yyjson_arr_size(list) == 0) return NULL;
  yyjson_val *record = yyjson_arr_get_first(list);
  if (strcmp(chars(string(needed(record, "/number/value"))), number) != 0) {
    fail(UNAVAILABLE, NULL, "ServiceNow's answer is not the record %s", number);
  }
  return record;
}

// Returns the record with this number. If there is none, the call will end with the error `rejected`.
static yyjson_val *existing(const char *number) {
  yyjson_val *record = found(number);
  if (!record) fail(REJECTED, NULL, "ServiceNow has no %s, or the user cannot see it", number);
  return record;
}

static const char *sys_id(const char *number) { return needed(existing(number), "/sys_id/value"); }

// Sets the fields of the report. Returns the names of the fields that the answer is asked for,
// separated by commas.
static const char *set_fields(yyjson_mut_doc *body) {
  jackfield_connector_report_list_field_t fields;
  jackfield_connector_report_fields(&fields);
  const char *names = FIELDS;
  for (size_t n = 0; n < fields.len; ++n) {
    const char *name = chars(fields.ptr[n].name), *value = chars(fields.ptr[n].value.val.text);
    const bool is_text = fields.ptr[n].value.tag == JACKFIELD_CONNECTOR_REPORT_FIELD_VALUE_TEXT;
    yyjson_doc *json = is_text ? NULL : yyjson_read(value, strlen(value), 0);
    yyjson_mut_obj_add_val(body, body->root, name, json
        ? yyjson_val_mut_copy(body, yyjson_doc_get_root(json)) : yyjson_mut_str(body, value));
    names = format("%s,%s", names, name);
  }
  return names;
}

static void warn(const char *message) {
  connector_string_t text = string(message);
  jackfield_connector_log_log(JACKFIELD_CONNECTOR_LOG_LEVEL_WARN, &text);
}

void exports_jackfield_connector_plugin_describe(exports_jackfield_connector_plugin_manifest_t *ret) {
  *ret = (exports_jackfield_connector_plugin_manifest_t){
      .name = string("ServiceNow"),
      .version = string("0.1.0"),
      .summary = string("Creates, finds and counts incidents of ServiceNow, and works on them later."),
      .homepage = option("https://www.servicenow.com/docs/r/api-reference/rest-apis/c_TableAPI.html"),
      .settings = string(SCHEMA),
      .index_delay_seconds = {true, 0},  // The table API reads the database directly.
  };
}

bool exports_jackfield_connector_plugin_check(connector_string_t *ret, error_t *error) {
  jackfield_connector_model_counts_t counts = {};
  exports_jackfield_connector_kpis_count(NULL, &counts, error);
  *ret = string(format("%s as %s, %u open records in %s", setting_text("url"), user(), counts.open,
      setting_text("table")));
  return finish(error);
}

bool exports_jackfield_connector_defects_create(jackfield_connector_model_failed_test_t *,
    connector_string_t *marker, defect_t *ret, error_t *error) {
  yyjson_mut_doc *body = object();
  yyjson_mut_val *record = body->root;
  yyjson_mut_obj_add_str(body, record, "short_description", report_title(SUMMARY_CHARS_MAX));
  yyjson_mut_obj_add_str(
      body, record, "description", report_description("plain", TEXT_CHARS_MAX, marker));
  yyjson_mut_obj_add_str(body, record, "correlation_id", chars(*marker));
  yyjson_mut_obj_add_str(body, record, "urgency", setting_text("urgency"));
  yyjson_mut_obj_add_str(body, record, "impact", setting_text("impact"));
  const char *category = setting_text("category"), *group = setting_text("assignment-group");
  if (*category) yyjson_mut_obj_add_str(body, record, "category", category);
  if (*group) yyjson_mut_obj_add_str(body, record, "assignment_group", group);
  const char *names = set_fields(body);
  yyjson_val *created = part(request((struct request){
      .method = JACKFIELD_CONNECTOR_HTTP_METHOD_POST,
      .path = table_path(""),
      .query = PAIRS({"sysparm_display_value", "all"}, {"sysparm_fields", names}),
      .json = body,
  }), "/result");
  *ret = defect(created);
  // ServiceNow ignores a field that the table does not have.
  for (const char *name = strtok(strdup(names), ","); name; name = strtok(NULL, ",")) {
    if (!yyjson_obj_get(created, name)) warn(format("the table has no field %s", name));
  }
  return finish(error);
}

bool exports_jackfield_connector_defects_find(connector_string_t *marker,
    exports_jackfield_connector_defects_list_defect_t *ret, error_t *error) {
  const char *condition = format("correlation_id=%s^ORDERBYsys_created_on", chars(*marker));
  const struct pair *query = PAIRS({"sysparm_query", condition}, {"sysparm_limit", "5"}, ALL);
  yyjson_val *record, *records = get(table_path(""), "/result", query);
  if (!yyjson_is_arr(records)) fail(UNAVAILABLE, "url", "ServiceNow's answer has no list of records");
  ret->len = yyjson_arr_size(records);
  ret->ptr = calloc(ret->len + 1, sizeof *ret->ptr);
  if (ret->len == 0) user();  // The list is also empty if the credentials are wrong. Then this request fails.
  size_t n, count;
  yyjson_arr_foreach(records, n, count, record) {
    const char *stored = text(record, "/correlation_id/value");
    if (!stored || strcmp(stored, chars(*marker)) != 0) {
      fail(UNSUPPORTED, NULL, "the table ignores the search for the marker in correlation_id");
    }
    ret->ptr[n] = defect(record);
  }
  return finish(error);
}

bool exports_jackfield_connector_kpis_count(
    connector_string_t *, jackfield_connector_model_counts_t *ret, error_t *error) {
  user();
  const char *critical = values("critical-priorities"), *moderate = values("moderate-priorities");
  ret->open = total(conditions(true, NULL));
  ret->closed = total(conditions(false, NULL));
  ret->critical = *critical ? total(conditions(true, critical)) : 0;
  ret->moderate = *moderate ? total(conditions(true, moderate)) : 0;
  const char *path = format("/%s_list.do", setting_text("table"));
  const struct pair *query = PAIRS({"sysparm_query", conditions(true, critical)});
  if (*critical) ret->critical_link = option(page(setting_text("url"), path, query));
  return finish(error);
}

static bool is_closed(yyjson_val *record) {
  const char *state = needed(record, "/state/value");
  yyjson_val *closed;
  size_t n, count;
  yyjson_arr_foreach(setting("closed-states"), n, count, closed) {
    if (state && strcmp(state, yyjson_get_str(closed)) == 0) return true;
  }
  return false;
}

bool exports_jackfield_connector_follow_up_state(
    connector_string_t *key, exports_jackfield_connector_follow_up_option_current_t *ret, error_t *error) {
  yyjson_val *record = found(chars(*key));
  ret->is_some = record != NULL;
  if (record) {
    ret->val.open = !is_closed(record);
    ret->val.defect = defect(record);
  } else {
    user();  // Fails if the credentials are wrong. Otherwise the record no longer exists.
  }
  return finish(error);
}

static void change(const char *number, const char *field, const char *value) {
  yyjson_mut_doc *body = object();
  yyjson_mut_obj_add_str(body, body->root, field, value);
  request((struct request){
      .method = JACKFIELD_CONNECTOR_HTTP_METHOD_PATCH,
      .path = table_path(sys_id(number)),
      .query = PAIRS({"sysparm_fields", "number"}),
      .json = body,
  });
}

bool exports_jackfield_connector_follow_up_comment(connector_string_t *key,
    jackfield_connector_model_failed_test_t *, connector_string_t *marker, error_t *error) {
  change(chars(*key), "work_notes", report_comment("plain", TEXT_CHARS_MAX, marker));
  return finish(error);
}

// The tracker returns all work notes as one text that begins with the newest note.
bool exports_jackfield_connector_follow_up_find_comment(
    connector_string_t *key, connector_string_t *marker, bool *ret, error_t *error) {
  const struct pair *query =
      PAIRS({"sysparm_display_value", "true"}, {"sysparm_fields", "work_notes"});
  const char *notes = needed(get(table_path(sys_id(chars(*key))), "/result", query), "/work_notes");
  *ret = notes && strstr(notes, chars(*marker));
  return finish(error);
}

bool exports_jackfield_connector_follow_up_reopen(connector_string_t *key, error_t *error) {
  if (is_closed(existing(chars(*key)))) change(chars(*key), "state", setting_text("reopen-state"));
  return finish(error);
}

bool exports_jackfield_connector_follow_up_attach(
    connector_string_t *key, uint32_t attachment, error_t *error) {
  jackfield_connector_report_list_attachment_t files;
  jackfield_connector_report_attachments(&files);
  const char *name = NULL;
  for (size_t n = 0; n < files.len; ++n) {
    if (files.ptr[n].id == attachment) name = chars(files.ptr[n].name);
  }
  if (!name) fail(REJECTED, NULL, "the report has no attachment %u", attachment);
  jackfield_connector_http_body_t file = {
      .tag = JACKFIELD_CONNECTOR_HTTP_BODY_ATTACHMENT, .val = {.attachment = attachment}};
  request((struct request){
      .method = JACKFIELD_CONNECTOR_HTTP_METHOD_POST,
      .path = "/api/now/attachment/file",
      .query = PAIRS({"table_name", setting_text("table")}, {"table_sys_id", sys_id(chars(*key))},
          {"file_name", name}),
      .body = &file,
  });
  return finish(error);
}

bool exports_jackfield_connector_follow_up_attached(
    connector_string_t *key, connector_list_string_t *ret, error_t *error) {
  enum { LIMIT = 1000 };
  const char *condition =
      format("table_name=%s^table_sys_id=%s", setting_text("table"), sys_id(chars(*key)));
  yyjson_val *file, *files = get("/api/now/attachment", "/result", PAIRS({"sysparm_query", condition},
      {"sysparm_fields", "file_name"}, {"sysparm_limit", format("%d", LIMIT)}));
  ret->len = yyjson_arr_size(files);
  if (ret->len == LIMIT) fail(UNAVAILABLE, NULL, "the record has more than %d files", LIMIT - 1);
  ret->ptr = calloc(ret->len + 1, sizeof *ret->ptr);
  size_t n, count;
  yyjson_arr_foreach(files, n, count, file) ret->ptr[n] = string(needed(file, "/file_name"));
  return finish(error);
}
