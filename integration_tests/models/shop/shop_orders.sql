-- The shop's receipts, in its own words; the last select puts them into the raw contract's.
with receipts as (
    select * from {{ source('till', 'receipts') }}
)

select
    receipt as order_id,
    client as customer_id,
    -- r3 is of February in Berlin, and still of January in UTC.
    cast(placed as timestamp) at time zone 'Europe/Berlin' at time zone 'UTC' as ordered_at,
    case state when 'sent' then 'completed' when 'void' then 'cancelled' else 'paid' end as status
from receipts
