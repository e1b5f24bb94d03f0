// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"strconv"
	"strings"

	gcs "cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	azureobject "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
)

// tagOf returns what identifies a version of an object: Google's generation, or the ETag of other
// stores. The modification time has a resolution of one second, and a multipart object may have no
// checksum.
func tagOf(found *blob.ListObject) string {
	var (
		google gcs.ObjectAttrs
		amazon types.Object
		azure  container.BlobItem
	)
	switch {
	case found.As(&google) && google.Generation != 0:
		return strconv.FormatInt(google.Generation, 10)
	case found.As(&amazon):
		return aws.ToString(amazon.ETag)
	case found.As(&azure) && azure.Properties != nil && azure.Properties.ETag != nil:
		return `"` + strings.Trim(string(*azure.Properties.ETag), `"`) + `"` // Preconditions need the quotes, which lists omit.
	}
	return ""
}

// requireVersion adds a precondition to a read, so that the store rejects another version.
func requireVersion(tag string) func(as func(any) bool) error {
	if tag == "" {
		return nil
	}
	return func(as func(any) bool) error {
		var (
			google **gcs.ObjectHandle
			amazon *s3.GetObjectInput
			azure  *azblob.DownloadStreamOptions
		)
		switch {
		case as(&google):
			generation, err := strconv.ParseInt(tag, 10, 64)
			if err != nil {
				return err
			}
			*google = (*google).If(gcs.Conditions{GenerationMatch: generation})
		case as(&amazon):
			amazon.IfMatch = &tag
		case as(&azure):
			azure.AccessConditions = &azureobject.AccessConditions{
				ModifiedAccessConditions: &azureobject.ModifiedAccessConditions{IfMatch: new(azcore.ETag(tag))},
			}
		}
		return nil
	}
}
