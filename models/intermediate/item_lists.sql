{%- set half_life = perennial.setting('similarity').half_life_days %}
-- Lists of numbers: what the Python model needs, and the cheapest to hand over.
select
    baskets.basis,
    {% if half_life -%}
    list(counts.item_number order by counts.item_number) as items,
    list(
        cast(clock.as_of_on - baskets.last_bought_on as double)
        order by counts.item_number
    ) as days_ago
    {%- else -%}
    {{ perennial.sorted_list('counts.item_number') }} as items,
    null as days_ago
    {%- endif %}
from {{ ref('item_baskets') }} as baskets
inner join {{ ref('item_counts') }} as counts
    on
        baskets.basis = counts.basis
        and baskets.product_id = counts.product_id
{%- if half_life %}
cross join {{ ref('clock') }} as clock
{%- endif %}
where baskets.is_counted
group by baskets.basis, baskets.basket_id
{%- if not half_life %}
having count(*) > 1
{%- endif %}
