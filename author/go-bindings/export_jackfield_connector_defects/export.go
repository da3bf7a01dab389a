package export_jackfield_connector_defects

import (
	"connector"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/jackfield_connector_model"
	"wit_component/outcome"
)

type failure = jackfield_connector_model.Error
type defect = jackfield_connector_model.Defect

func Create(test jackfield_connector_model.FailedTest, marker string) wit_types.Result[defect, failure] {
	return outcome.Of(connector.Create(test, marker))
}

func Find(marker string) wit_types.Result[[]defect, failure] {
	return outcome.Of(connector.Find(marker))
}
