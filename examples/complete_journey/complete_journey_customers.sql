select
    cast(household_id as varchar) as customer_id,
    'US' as country
from (
    select household_id from {{ perennial.example_file('transactions.parquet') }}
    union
    select household_id from {{ perennial.example_file('demographics.parquet') }}
    union
    select household_id from {{ perennial.example_file('campaigns.parquet') }}
) as households
