{{ perennial.retention_of_kind('streak') }}
