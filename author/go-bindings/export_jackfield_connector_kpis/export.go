package export_jackfield_connector_kpis

import (
	"connector"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/jackfield_connector_model"
	"wit_component/outcome"
)

type failure = jackfield_connector_model.Error
type counts = jackfield_connector_model.Counts

func Count(project string) wit_types.Result[counts, failure] {
	return outcome.Of(connector.Count(project))
}
