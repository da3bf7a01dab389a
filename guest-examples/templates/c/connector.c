// A connector for a small tracker. The contract and the manual are in `wit/connector.wit`. After the
// first build, `.build/bindings/connector.h` contains the contract in C.
//
// The host calls the functions whose name begins with `exports_`. Each call runs in a new instance of the
// connector.
#include "report.h"

// The connector never receives the API key: the host adds the key to each request.
const struct tracker TRACKER = {
    .name = "The tracker", .address = "url", .secret = "api-key", .reasons = "/errors"};
const char SCHEMA[] = {
#embed "settings.schema.json"
    , 0};

// Returns the user of the API key. A tracker may answer other requests even if this key is wrong.
static const char *user(void) {
  return needed(get("/users/current.json", "/user", NULL), "/login");
}

static defect_t defect(yyjson_val *issue) {
  const char *id = needed(issue, "/id");
  return (defect_t){
      .key = string(id),
      .title = string(needed(issue, "/subject")),
      .link = string(page(setting_text("url"), format("/issues/%s", id), NULL)),
      .status = option(text(issue, "/status/name")),
      .priority = option(text(issue, "/priority/name")),
      .description = option(text(issue, "/description")),
  };
}

void exports_jackfield_connector_plugin_describe(exports_jackfield_connector_plugin_manifest_t *ret) {
  *ret = (exports_jackfield_connector_plugin_manifest_t){
      .name = string("Sample tracker"),
      .version = string("0.1.0"),
      .summary = string("Creates, finds and counts issues of a small tracker."),
      .settings = string(SCHEMA),
      .index_delay_seconds = {true, 0},  // for how many seconds the search may miss a new issue
  };
}

bool exports_jackfield_connector_plugin_check(connector_string_t *ret, error_t *error) {
  jackfield_connector_model_counts_t counts = {};
  exports_jackfield_connector_kpis_count(NULL, &counts, error);
  *ret = string(format("reached as %s, %u open issues", user(), counts.open));
  return finish(error);
}

// Reads the report, then sends the only write. So no issue exists if an earlier step fails.
bool exports_jackfield_connector_defects_create(jackfield_connector_model_failed_test_t *,
    connector_string_t *marker, defect_t *ret, error_t *error) {
  yyjson_mut_doc *body = object();
  yyjson_mut_val *issue = yyjson_mut_obj_add_obj(body, body->root, "issue");
  yyjson_mut_obj_add_str(body, issue, "description", report_description("markdown", 16000, marker));
  yyjson_mut_obj_add_str(body, issue, "project_id", setting_text("project"));
  yyjson_mut_obj_add_str(body, issue, "subject", report_title(255));
  *ret = defect(post("/issues.json", "/issue", body));
  return finish(error);
}

bool exports_jackfield_connector_defects_find(connector_string_t *marker,
    exports_jackfield_connector_defects_list_defect_t *ret, error_t *error) {
  const char *search = format("~%s", chars(*marker));
  const struct pair *query = PAIRS({"status_id", "*"}, {"limit", "5"}, {"description", search});
  yyjson_val *issue, *issues = get("/issues.json", "/issues", query);
  ret->len = yyjson_arr_size(issues);
  ret->ptr = calloc(ret->len + 1, sizeof *ret->ptr);
  if (ret->len == 0) user();  // The list is also empty if the API key is wrong. Then this request fails.
  size_t n, count;
  yyjson_arr_foreach(issues, n, count, issue) {
    if (!strstr(needed(issue, "/description"), chars(*marker))) {
      fail(UNSUPPORTED, NULL, "the tracker ignores the search for the marker");
    }
    ret->ptr[n] = defect(issue);
  }
  return finish(error);
}

static uint32_t count(const char *status, const char *priorities) {
  const struct pair *query =
      PAIRS({"status_id", status}, {"priority_id", priorities}, {"limit", "1"});
  const char *path = format("/projects/%s/issues.json", setting_text("project"));
  return (uint32_t)yyjson_get_uint(get(path, "/total_count", query));
}

bool exports_jackfield_connector_kpis_count(
    connector_string_t *, jackfield_connector_model_counts_t *ret, error_t *error) {
  user();
  yyjson_val *known = get("/enumerations/issue_priorities.json", "/issue_priorities", NULL);
  const char *critical = ids_of(known, "critical", "|");
  ret->open = count("open", NULL);
  ret->closed = count("closed", NULL);
  ret->critical = count("open", critical);
  ret->moderate = ret->open > ret->critical ? ret->open - ret->critical : 0;
  const char *path = format("/projects/%s/issues", setting_text("project"));
  const struct pair *query = PAIRS({"status_id", "open"}, {"priority_id", critical});
  ret->critical_link = option(page(setting_text("url"), path, query));
  return finish(error);
}
