// Package connector is for a small tracker. The contract, which is also the manual, is
// `wit/connector.wit`; after the first build, `.build/bindings/` has it in Go.
//
// The host calls the exported functions, each time in a new instance. Return `jackfield.Fail(…)` for an
// error of the contract. A panic ends the call, and the event shows it.
package connector

import (
	_ "embed"
	"fmt"
	"strings"

	"connector/jackfield"
	"connector/jackfield/report"
)

var tracker = jackfield.Tracker{Name: "The tracker", Address: "url", Secret: "api-key", Words: "/errors"}

//go:embed settings.schema.json
var schema string

// The settings of `settings.schema.json`. The connector never sees the API key: the host adds it.
type settings struct {
	URL, Project string
	Critical     []string
}

func given() settings { return jackfield.Settings[settings](schema) }

type issue struct {
	ID                   uint64
	Subject, Description string
	Status, Priority     jackfield.Named
}

func (it issue) defect() jackfield.Defect {
	return jackfield.Defect{
		Key: fmt.Sprint(it.ID), Title: it.Subject, Description: jackfield.Text(it.Description),
		Link:   jackfield.Page(given().URL, fmt.Sprintf("/issues/%d", it.ID), nil),
		Status: jackfield.Text(it.Status.Name), Priority: jackfield.Text(it.Priority.Name),
	}
}

// The key's user. Other requests may answer a wrong key as an anonymous visitor.
func user() (string, error) {
	return jackfield.Get[string](tracker, "/users/current.json", "/user/login", nil)
}

func Describe() jackfield.Manifest {
	return jackfield.Manifest{
		Name: "Sample tracker", Version: "0.1.0", Settings: schema,
		Summary:           "Creates, finds and counts issues of a small tracker.",
		IndexDelaySeconds: jackfield.Some(uint32(0)), // how long the search may not find a new issue
	}
}

func Check() (string, error) {
	counts, err := Count("")
	if err != nil {
		return "", err
	}
	name, err := user()
	return fmt.Sprintf("reached as %s, %d open issues", name, counts.Open), err
}

// Create reads the report first, checks what may fail, and sends the only write last.
func Create(_ jackfield.FailedTest, marker string) (jackfield.Defect, error) {
	description, err := report.Description("markdown", 16_000, marker)
	if err != nil {
		return jackfield.Defect{}, err
	}
	created, err := jackfield.Post[issue](tracker, "/issues.json", "/issue", jackfield.Object{
		"issue": jackfield.Object{
			"description": description, "project_id": given().Project, "subject": report.Title(255),
		}})
	return created.defect(), err
}

func Find(marker string) (found []jackfield.Defect, err error) {
	query := jackfield.Pairs{{"status_id", "*"}, {"limit", "5"}, {"description", "~" + marker}}
	issues, err := jackfield.Get[[]issue](tracker, "/issues.json", "/issues", query)
	if err == nil && len(issues) == 0 {
		_, err = user() // an empty list must not come from a wrong key
	}
	for _, it := range issues {
		if !strings.Contains(it.Description, marker) {
			err = jackfield.Fail(jackfield.Unsupported, "the tracker ignores the search for the marker")
		}
		found = append(found, it.defect())
	}
	return found, err
}
