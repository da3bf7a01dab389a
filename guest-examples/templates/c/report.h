// Functions that return the texts of the report. They are not in `jackfield.h`, because a world whose name
// begins with `plain-` does not contain the report.
#pragma once

#include "jackfield.h"

static inline const char *report_title(uint32_t max_characters) {
  connector_string_t title;
  jackfield_connector_report_title(max_characters, &title);
  return chars(title);
}

static inline const char *report_description(
    const char *markup, uint32_t max_characters, connector_string_t *marker) {
  connector_string_t name = string(markup), description;
  error_t error;
  if (!jackfield_connector_report_description(&name, max_characters, marker, &description, &error)) {
    fail_with(error);
    return "";
  }
  return chars(description);
}

static inline const char *report_comment(
    const char *markup, uint32_t max_characters, connector_string_t *marker) {
  connector_string_t name = string(markup), comment;
  error_t error;
  if (!jackfield_connector_report_comment(&name, max_characters, marker, &comment, &error)) {
    fail_with(error);
    return "";
  }
  return chars(comment);
}
