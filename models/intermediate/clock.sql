-- Nothing is counted before the rows that came in are known to be good enough.
-- depends_on: {{ ref('quarantine') }}
with last_moments as (
    select max(ordered_at) as moment from {{ ref('stg_orders') }}
    union all
    select max(refunded_at) as moment from {{ ref('stg_refunds') }}
    union all
    select max(occurred_at) as moment from {{ ref('stg_events') }}
),

chosen as (
    {%- if perennial.setting('as_of') is not none %}
    select {{ perennial.text_as_timestamp("'" ~ perennial.setting("as_of") ~ "'") }} as as_of
    {%- else %}
    select max(moment) as as_of from last_moments
    {%- endif %}
)

select
    as_of,
    {{ perennial.local_date('as_of') }} as as_of_on
from chosen
where as_of is not null
