package server

import (
	"errors"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
	"github.com/samsa-io/samsa/pkg/catalog/settings"
	"github.com/samsa-io/samsa/pkg/rpc"
	"github.com/samsa-io/samsa/services/bucket/internal/bucket"
)

// toStatus is the table of what clients get to see. What it does not know leaves
// as it is: pkg/rpc keeps its text in the log.
func toStatus(err error) error {
	var invalid *settings.InvalidError
	var unfinished *bucket.UnfinishedError
	var object *catalog.ObjectError
	switch {
	case errors.As(err, &invalid):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_INVALID_ARGUMENT, "%s", invalid.Error()).In(invalid.Field)
	case errors.Is(err, bucket.ErrCatalogBehind):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR,
			"the catalog database was put back to an older backup and is behind what is known of the stream; it is being brought up to date, look and try again then").
			With("reason", "catalog_behind").Because(err)
	case errors.As(err, &unfinished):
		// Not SERVICE_UNAVAILABLE, which says that nothing has happened.
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_NETWORK_ERROR, "%s", unfinished.Situation()).
			With("reason", unfinishedReason(unfinished)).Because(err)
	case errors.As(err, &object):
		return objectStatus(object)
	case errors.Is(err, catalog.ErrUnavailable):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_DATABASE_ERROR, "the catalog database does not answer; try again").Because(err)
	}
	return err
}

func unfinishedReason(err *bucket.UnfinishedError) string {
	if err.Deleting() {
		return "deletion_unfinished"
	}
	return "configuration_unfinished"
}

func objectStatus(err *catalog.ObjectError) error {
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_NOT_FOUND, "%s", err.Error())
	case errors.Is(err, catalog.ErrExists):
		return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_ALREADY_EXISTS, "%s", err.Error())
	}
	return rpc.Errorf(samsav1.ErrorCode_ERROR_CODE_PRECONDITION_FAILED, "deletion pending: %s; its name is free once that is done", err.Error()).
		With("reason", "deletion_pending")
}
