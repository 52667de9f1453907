-- All that the models of purchases need: they cost as many steps as there are rows here.
select
    cast(cut as string) as cut,
    cast(channel as string) as channel,
    cast(n_repeats as bigint) as n_repeats,
    cast(last_days as integer) as last_days,
    cast(age_days as integer) as age_days,
    cast(count(*) as bigint) as n_customers
from {{ ref('purchase_histories') }}
group by cut, channel, n_repeats, last_days, age_days
