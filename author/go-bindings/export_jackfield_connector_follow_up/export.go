package export_jackfield_connector_follow_up

import (
	"connector"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/jackfield_connector_follow_up"
	"wit_component/jackfield_connector_model"
	"wit_component/outcome"
)

type failure = jackfield_connector_model.Error
type current = wit_types.Option[jackfield_connector_follow_up.Current]
type done = wit_types.Result[wit_types.Unit, failure]

// State returns none if the author's function returns nil without an error. The author's function
// returns nil if the defect no longer exists in the tracker.
func State(key string) wit_types.Result[current, failure] {
	found, err := connector.State(key)
	if found == nil {
		return outcome.Of(wit_types.None[jackfield_connector_follow_up.Current](), err)
	}
	return outcome.Of(wit_types.Some(*found), err)
}

func Comment(key string, test jackfield_connector_model.FailedTest, marker string) done {
	return outcome.Done(connector.Comment(key, test, marker))
}

func FindComment(key, marker string) wit_types.Result[bool, failure] {
	return outcome.Of(connector.FindComment(key, marker))
}

func Reopen(key string) done {
	return outcome.Done(connector.Reopen(key))
}

func Attach(key string, attachment uint32) done {
	return outcome.Done(connector.Attach(key, attachment))
}

func Attached(key string) wit_types.Result[[]string, failure] {
	return outcome.Of(connector.Attached(key))
}
