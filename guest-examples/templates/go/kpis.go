package connector

import "connector/jackfield"

func Count(string) (counts jackfield.Counts, err error) {
	if _, err = user(); err != nil {
		return counts, err
	}
	path := "/enumerations/issue_priorities.json"
	known, err := jackfield.Get[[]jackfield.Named](tracker, path, "/issue_priorities", nil)
	if err != nil {
		return counts, err
	}
	critical, err := jackfield.IDs(known, given().Critical, "critical", "|")
	path = "/projects/" + given().Project + "/issues"
	count := func(status, priorities string) (count uint32) {
		query := jackfield.Pairs{{"status_id", status}, {"priority_id", priorities}, {"limit", "1"}}
		if err == nil {
			count, err = jackfield.Get[uint32](tracker, path+".json", "/total_count", query)
		}
		return count
	}
	counts.Open, counts.Closed, counts.Critical = count("open", ""), count("closed", ""), count("open", critical)
	counts.Moderate = max(counts.Open, counts.Critical) - counts.Critical
	query := jackfield.Pairs{{"status_id", "open"}, {"priority_id", critical}}
	counts.CriticalLink = jackfield.Some(jackfield.Page(given().URL, path, query))
	return counts, err
}
