{{ config(materialized='view') }}
{{ perennial.retention_of_kind('streak') }}
