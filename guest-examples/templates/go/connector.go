// Package connector is a connector for a small tracker. The contract and the manual are in `wit/connector.wit`.
// Each call of an exported function runs in a new instance. Return `jackfield.Fail(…)` for an error of the contract.
package connector

import (
	"cmp"
	_ "embed"
	"fmt"

	"connector/jackfield"
	"connector/jackfield/report"
)

//go:embed settings.schema.json
var schema string
var tracker = jackfield.Tracker{Name: "The tracker", Address: "url", Secret: "api-key", Reasons: "/errors"}

// The settings of `settings.schema.json`. The host adds the API key to each request.
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
		Key: fmt.Sprint(it.ID), Title: it.Subject, Link: jackfield.Page(given().URL, fmt.Sprint("/issues/", it.ID), nil),
		Status: jackfield.Text(it.Status.Name), Priority: jackfield.Text(it.Priority.Name), Description: jackfield.Text(it.Description),
	}
}

// user returns the user of the API key. A tracker may answer other requests even if this key is wrong.
func user() (string, error) {
	return jackfield.Get[string](tracker, "/users/current.json", "/user/login", nil)
}

func Describe() jackfield.Manifest {
	return jackfield.Manifest{
		Name: "Sample tracker", Version: "0.1.0", Settings: schema,
		Summary:           "Creates, finds and counts issues of a small tracker.",
		IndexDelaySeconds: jackfield.Some(uint32(0)), // for how many seconds the search may miss a new issue
	}
}

func Check() (string, error) {
	name, err := user()
	counts, failed := Count("")
	return fmt.Sprintf("reached as %s, %d open issues", name, counts.Open), cmp.Or(err, failed)
}

// Create reads the report, then sends the only write. So no issue exists if an earlier step fails.
func Create(_ jackfield.FailedTest, marker string) (jackfield.Defect, error) {
	description, err := report.Description("markdown", 16_000, marker)
	if err != nil {
		return jackfield.Defect{}, err
	}
	body := jackfield.Object{"description": description, "project_id": given().Project, "subject": report.Title(255)}
	created, err := jackfield.Post[issue](tracker, "/issues.json", "/issue", jackfield.Object{"issue": body})
	return created.defect(), err
}

func Find(marker string) (found []jackfield.Defect, err error) {
	query := jackfield.Pairs{{"status_id", "*"}, {"limit", "5"}, {"description", "~" + marker}}
	issues, err := jackfield.Get[[]issue](tracker, "/issues.json", "/issues", query)
	if err == nil && len(issues) == 0 {
		_, err = user() // The list is also empty if the API key is wrong. Then this request fails.
	}
	for _, it := range issues {
		err = cmp.Or(err, tracker.Marked(it.Description, marker))
		found = append(found, it.defect())
	}
	return found, err
}

func Count(string) (counts jackfield.Counts, err error) {
	if _, err = user(); err != nil {
		return counts, err
	}
	critical, err := tracker.IDs("/enumerations/issue_priorities.json", "/issue_priorities", given().Critical, "critical", "|")
	path := "/projects/" + given().Project + "/issues"
	count := func(status, priorities string) (count uint32) {
		query := jackfield.Pairs{{"status_id", status}, {"priority_id", priorities}, {"limit", "1"}}
		if err == nil {
			count, err = jackfield.Get[uint32](tracker, path+".json", "/total_count", query)
		}
		return count
	}
	counts.Open, counts.Closed, counts.Critical = count("open", ""), count("closed", ""), count("open", critical)
	counts.Moderate = max(counts.Open, counts.Critical) - counts.Critical
	counts.CriticalLink = jackfield.Text(jackfield.Page(given().URL, path, jackfield.Pairs{{"status_id", "open"}, {"priority_id", critical}}))
	return counts, err
}
