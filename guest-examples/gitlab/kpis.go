package connector

import (
	"net/url"

	"connector/jackfield"
)

// statistics returns the numbers of open and of closed issues that have all these labels. The
// parameter contains the labels, separated by commas. If it is empty, all issues are counted.
func statistics(labels string) (counts struct{ Opened, Closed *uint32 }, err error) {
	query := jackfield.Pairs{{"labels", labels}, {"scope", "all"}}
	counts, err = jackfield.Get[struct{ Opened, Closed *uint32 }](
		gitlab, projectPath()+"/issues_statistics", "/statistics/counts", query)
	if err == nil && (counts.Opened == nil || counts.Closed == nil) {
		err = jackfield.Fail(jackfield.Unavailable, "GitLab's answer has no numbers of issues").About("url")
	}
	return counts, err
}

// checkLabel returns an error if a label does not exist. Otherwise its count would be zero, and no person would
// notice.
func checkLabel(label, setting string) error {
	_, err := jackfield.Get[string](gitlab, projectPath()+"/labels/"+url.PathEscape(label), "/name", nil)
	if jackfield.IsNotFound(err) {
		return jackfield.Fail(jackfield.Rejected, "the project has no label %q", label).About(setting)
	}
	return err
}

func Count(string) (counts jackfield.Counts, err error) {
	if _, err = user(); err != nil {
		return counts, err
	}
	// opened returns the number of open issues that have all these labels.
	opened := func(labels string) uint32 {
		if err != nil {
			return 0
		}
		found, failed := statistics(labels)
		if err = failed; err != nil {
			return 0
		}
		return *found.Opened
	}
	all, err := statistics("")
	if err != nil {
		return counts, err
	}
	counts.Open, counts.Closed = *all.Opened, *all.Closed
	critical, moderate := given().CriticalLabel, given().ModerateLabel
	if critical != "" {
		if err = checkLabel(critical, "critical-label"); err != nil {
			return counts, err
		}
		counts.Critical = opened(critical)
		project, failed := jackfield.Get[string](gitlab, projectPath(), "/web_url", nil)
		if failed != nil {
			return counts, failed
		}
		query := jackfield.Pairs{{"state", "opened"}, {"label_name[]", critical}}
		counts.CriticalLink = jackfield.Some(jackfield.Page(project, "/-/issues", query))
	}
	if moderate != "" && err == nil {
		if err = checkLabel(moderate, "moderate-label"); err != nil {
			return counts, err
		}
		counts.Moderate = opened(moderate)
		if critical != "" {
			counts.Moderate -= min(counts.Moderate, opened(moderate+","+critical))
		}
	}
	return counts, err
}
