// Package connector is a connector for the issues of gitlab.com and of other GitLab servers.
//
// GitLab differs from most trackers in these points. Labels are used as priorities. The reasons in a refusal can
// have many forms. A line of a text that begins with a slash is a command to GitLab. A file is uploaded first, and
// then a note refers to it.
package connector

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"connector/jackfield"
	"connector/jackfield/report"

	follow_up "wit_component/jackfield_connector_follow_up"
	"wit_component/jackfield_connector_http"
	"wit_component/jackfield_connector_report"
)

// The empty path in `Reasons` means the whole answer, because GitLab puts its reasons into
// `message` or `error`.
var gitlab = jackfield.Tracker{Name: "GitLab", Address: "url", Secret: "token", Reasons: ""}

//go:embed settings.schema.json
var schema string

const (
	titleCharsMax = 255
	textCharsMax  = 900_000
	pageSize      = 100
)

// The members of an issue that the connection may set as fields of the report.
var members = []string{"assignee_ids", "confidential", "due_date", "issue_type", "labels", "milestone_id", "weight"}

type settings struct {
	URL, Project  string
	Labels        []string
	CriticalLabel string `json:"critical-label"`
	ModerateLabel string `json:"moderate-label"`
}

func given() settings { return jackfield.Settings[settings](schema) }

type issue struct {
	IID         uint64
	Title       string
	Description string
	State       string
	Labels      []string
	WebURL      string `json:"web_url"`
	References  struct{ Full string }
}

func (it issue) defect() jackfield.Defect {
	priority := ""
	for _, label := range []string{given().ModerateLabel, given().CriticalLabel} {
		if label != "" && contains(it.Labels, label) {
			priority = label
		}
	}
	return jackfield.Defect{
		Key: it.References.Full, Title: it.Title, Link: it.WebURL, Status: jackfield.Text(it.State),
		Priority: jackfield.Text(priority), Description: jackfield.Text(it.Description),
	}
}

func contains(list []string, text string) bool {
	for _, it := range list {
		if it == text {
			return true
		}
	}
	return false
}

func projectPath() string { return "/api/v4/projects/" + url.PathEscape(given().Project) }

// issuePath returns the API path of an issue whose key is "group/project#12".
func issuePath(key string) (string, error) {
	project, number, found := strings.Cut(key, "#")
	if !found {
		return "", jackfield.Fail(jackfield.Rejected, "%q is not GROUP/PROJECT#NUMBER", key)
	}
	return fmt.Sprintf("/api/v4/projects/%s/issues/%s", url.PathEscape(project), url.PathEscape(number)), nil
}

// complete returns an error if the answer is JSON, but not an issue.
func complete(it issue, err error) (issue, error) {
	if err == nil && (it.References.Full == "" || it.WebURL == "") {
		err = jackfield.Fail(jackfield.Unavailable, "GitLab's answer is not an issue").About("url")
	}
	return it, err
}

// user returns the user of the token. GitLab may answer other requests even if the token is wrong.
func user() (string, error) {
	return jackfield.Get[string](gitlab, "/api/v4/user", "/username", nil)
}

var command = regexp.MustCompile(`(?m)^(\s*)/`)

// harmless changes a text so that GitLab finds no commands in it, such as `/close` at the beginning of a line.
func harmless(text string) string { return command.ReplaceAllString(text, `$1\/`) }

func Describe() jackfield.Manifest {
	return jackfield.Manifest{
		Name: "GitLab Issues", Version: "0.1.0", Settings: schema,
		Summary:           "Creates, finds and counts issues of a GitLab project, and comments on them.",
		Homepage:          jackfield.Some("https://docs.gitlab.com/api/issues/"),
		IndexDelaySeconds: jackfield.Some(uint32(60)), // the replicas of the database of gitlab.com have a small delay
	}
}

func Check() (string, error) {
	name, err := user()
	if err != nil {
		return "", err
	}
	project, err := jackfield.Get[string](gitlab, projectPath(), "/path_with_namespace", nil)
	if err != nil {
		return "", err
	}
	counts, err := Count("")
	return fmt.Sprintf("%s as %s, %d open issues", project, name, counts.Open), err
}

func Create(_ jackfield.FailedTest, marker string) (jackfield.Defect, error) {
	title := report.Title(titleCharsMax)
	description, err := report.Description("markdown", textCharsMax, marker)
	if err != nil {
		return jackfield.Defect{}, err
	}
	body := jackfield.Object{"title": title}
	notes := setFields(body)
	body["description"] = harmless(description) + notes
	created, err := complete(jackfield.Post[issue](gitlab, projectPath()+"/issues", "", body))
	return created.defect(), err
}

// setFields sets the fields of the report in the body of a new issue. It returns a line of text for each field that
// GitLab does not have.
func setFields(body jackfield.Object) (notes string) {
	labels := given().Labels
	for _, field := range jackfield_connector_report.Fields() {
		var value any
		if field.Value.Tag() == jackfield_connector_report.FieldValueText {
			value = field.Value.Text()
		} else if json.Unmarshal([]byte(field.Value.Json()), &value) != nil {
			value = field.Value.Json()
		}
		switch {
		case field.Name == "labels":
			labels = append(labels, strings.Split(fmt.Sprint(value), ",")...)
		case contains(members, field.Name):
			body[field.Name] = value
		default:
			notes += fmt.Sprintf("\n\nNot set: there is no field %q", field.Name)
		}
	}
	if len(labels) > 0 {
		body["labels"] = labels
	}
	return notes
}

func Find(marker string) (found []jackfield.Defect, err error) {
	query := jackfield.Pairs{{"search", marker}, {"in", "description"}, {"state", "all"},
		{"order_by", "created_at"}, {"sort", "asc"}, {"per_page", "5"}}
	issues, err := jackfield.Get[[]issue](gitlab, projectPath()+"/issues", "", query)
	if err == nil && len(issues) == 0 {
		_, err = user() // The list is also empty if the token is wrong. Then this request fails.
	}
	for _, it := range issues {
		if _, err := complete(it, nil); err != nil {
			return nil, err
		}
		if err := gitlab.Marked(it.Description, marker); err != nil {
			return nil, err
		}
		found = append(found, it.defect())
	}
	return found, err
}

func State(key string) (*follow_up.Current, error) {
	path, err := issuePath(key)
	if err != nil {
		return nil, err
	}
	found, err := complete(jackfield.Get[issue](gitlab, path, "", nil))
	if jackfield.IsNotFound(err) {
		_, err = user() // Fails if the token is wrong. Otherwise the issue no longer exists.
		return nil, err
	}
	return &follow_up.Current{Defect: found.defect(), Open: found.State == "opened"}, err
}

func Comment(key string, _ jackfield.FailedTest, marker string) error {
	text, err := report.Comment("markdown", textCharsMax, marker)
	if err != nil {
		return err
	}
	return addNote(key, harmless(text))
}

func addNote(key, text string) error {
	path, err := issuePath(key)
	if err != nil {
		return err
	}
	_, err = jackfield.Post[uint64](gitlab, path+"/notes", "/id", jackfield.Object{"body": text})
	return err
}

func notes(key string) (bodies []string, err error) {
	path, err := issuePath(key)
	for page := 1; err == nil; page++ {
		query := jackfield.Pairs{{"per_page", fmt.Sprint(pageSize)}, {"page", fmt.Sprint(page)}}
		var list []struct{ Body string }
		list, err = jackfield.Get[[]struct{ Body string }](gitlab, path+"/notes", "", query)
		for _, note := range list {
			bodies = append(bodies, note.Body)
		}
		if len(list) < pageSize {
			break
		}
	}
	return bodies, err
}

func FindComment(key, marker string) (bool, error) {
	bodies, err := notes(key)
	return strings.Contains(strings.Join(bodies, "\n"), marker), err
}

func Reopen(key string) error {
	path, err := issuePath(key)
	if err != nil {
		return err
	}
	state, err := jackfield.Get[string](gitlab, path, "/state", nil)
	if err != nil || state == "opened" {
		return err
	}
	more := jackfield.More{JSON: jackfield.Object{"state_event": "reopen"}}
	_, err = gitlab.Request(jackfield_connector_http.MethodPut, path, more)
	return err
}

// attachedAs is the beginning of the first line of a note that attaches a file. The rest of the line is the name of
// the file, because GitLab changes the name in the URL.
const attachedAs = "Jackfield attached the file "

func Attach(key string, attachment uint32) error {
	for _, file := range jackfield_connector_report.Attachments() {
		if file.Id == attachment {
			markdown, err := upload(attachment)
			if err != nil {
				return err
			}
			return addNote(key, fmt.Sprintf("%s%s\n\n%s", attachedAs, file.Name, markdown))
		}
	}
	return jackfield.Fail(jackfield.Rejected, "the report has no attachment %d", attachment)
}

// upload uploads a file, and returns the Markdown that refers to the file.
func upload(attachment uint32) (string, error) {
	part := jackfield_connector_http.Part{
		Name: "file", Content: jackfield_connector_http.MakeContentAttachment(attachment),
	}
	body := jackfield_connector_http.MakeBodyMultipart([]jackfield_connector_http.Part{part})
	effect := jackfield_connector_http.EffectPrepare
	answer, err := gitlab.Request(jackfield_connector_http.MethodPost, projectPath()+"/uploads",
		jackfield.More{Body: &body, Effect: &effect})
	return jackfield.Part[string](answer, "/markdown", err)
}

func Attached(key string) (names []string, err error) {
	bodies, err := notes(key)
	for _, body := range bodies {
		line, _, _ := strings.Cut(body, "\n")
		if name, found := strings.CutPrefix(line, attachedAs); found {
			names = append(names, name)
		}
	}
	return names, err
}
