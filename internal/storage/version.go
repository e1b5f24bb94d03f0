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

// tagOf is what a store tells the versions of an object apart by: Google's
// generation, and the ETag of the others. A time is not enough, as it is in
// seconds, and an object that was stored in parts may have no checksum.
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
		return `"` + strings.Trim(string(*azure.Properties.ETag), `"`) + `"` // Lists leave out the quotes, which conditions need.
	}
	return ""
}

// onlyVersion has the store refuse to read another version.
func onlyVersion(tag string) func(as func(any) bool) error {
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
