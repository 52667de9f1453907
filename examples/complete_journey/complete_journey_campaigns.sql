-- Dates are days of the shop, in US Eastern time.
select
    cast(campaign_id as varchar) as campaign_id,
    campaign_type || ' ' || campaign_id as name,
    'mail' as channel,
    start_date at time zone 'America/New_York' at time zone 'UTC' as starts_at,
    end_date at time zone 'America/New_York' at time zone 'UTC' as ends_at
from {{ perennial.example_file('campaign_descriptions.parquet') }}
