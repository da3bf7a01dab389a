//! The default templates, which are used if a connection has no template or if its template fails.
//! Each default template can be rendered with only the ids of the failed test. A default template
//! reads only parts of the data from which it prints something, because each part that a template
//! reads must be fetched.

/// The default title, which is one line.
pub(super) const TITLE: &str = "\
{% if test_case.name %}{{ test_case.name }}{% else %}Test case {{ test_case_id }}{% endif %}\
{% if test_case.key %} ({{ test_case.key }}){% endif %} \
{{ (log.result or 'failed')|lower }}\
";

/// The default description, in Markdown.
pub(super) const DESCRIPTION: &str = "\
The test case **{{ test_case.name or test_case_id }}**\
{% if test_case.key %} ({{ test_case.key }}){% endif %} \
ended with the result **{{ log.result or 'Failed' }}**.

{% if link %}
[Open the test case log in Test Manager]({{ link }})
{% endif %}

{% if log.info %}
```
{{ log.info }}
```
{% endif %}

{% set failed = assertions|rejectattr('succeeded')|list %}
{% if failed %}
## What was expected

{% for assertion in failed[:20] %}
- {{ assertion.message or 'An assertion without a message failed.' }}
{% if assertion.payload %}
  - {{ assertion.payload }}
{% endif %}
{% endfor %}
{% if failed|length > 20 %}
- … and {{ failed|length - 20 }} more
{% endif %}
{% endif %}

{% if robot_logs %}
## End of the robot's log

```
{% for line in robot_logs[-20:] %}
{{ line.at|date }} {{ line.level }}: {{ line.message }}
{% endfor %}
```
{% endif %}

{% if log.input_arguments %}
## Input arguments

```
{{ log.input_arguments|pretty }}
```
{% endif %}

{% if log.output_arguments %}
## Output arguments

```
{{ log.output_arguments|pretty }}
```
{% endif %}

## Where and when

{% if project.name %}
- Project: {{ project.name }}{% if project.prefix %} ({{ project.prefix }}){% endif %}

{% endif %}
- Test execution: {{ execution.name or test_execution_id }}
{% if variation_id %}
- Variation: {{ variation_id }}
{% endif %}
{% if log.started_at or execution.started_at %}
- Started: {{ (log.started_at or execution.started_at)|date }}
{% endif %}
{% if log.finished_at or execution.finished_at %}
- Finished: {{ (log.finished_at or execution.finished_at)|date }}
{% endif %}
{% if log.executed_by %}
- Executed by: {{ log.executed_by }}
{% endif %}
{% if log.robot %}
- Robot: {{ log.robot }}
{% endif %}
{% if log.machine %}
- Machine: {{ log.machine }}
{% endif %}
{% if test_case.automation_test_case %}
- Automation: {{ test_case.automation_test_case }}\
{% if test_case.automation_project %} ({{ test_case.automation_project }}){% endif %}

{% endif %}
";

/// The default comment on a test that fails again, in Markdown.
pub(super) const COMMENT: &str = "\
The test case **{{ test_case.name or test_case_id }}** failed again in the test execution \
{{ execution.name or test_execution_id }}\
{% if log.finished_at or execution.finished_at %} \
at {{ (log.finished_at or execution.finished_at)|date }}{% endif %}.

{% if link %}
[Open the test case log in Test Manager]({{ link }})
{% endif %}

{% if log.info %}
```
{{ log.info }}
```
{% endif %}

{% for assertion in (assertions|rejectattr('succeeded')|list)[:20] %}
- {{ assertion.message or 'An assertion without a message failed.' }}
{% endfor %}
";
